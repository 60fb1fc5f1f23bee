"""Each benchmark with a handful of events, so that none of them rots."""

from __future__ import annotations

import pytest

from bench import __main__ as command
from bench import servers
from bench.__main__ import BENCHMARKS
from bench.results import Result
from bench.session import Session, Sizes

TINY = Sizes(events=400, keys=20, repeat=1, seconds=2, published=(10,))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmark_runs_and_proves_its_runs(name, tmp_path):
    with Session(servers.running(), TINY) as session:
        result = BENCHMARKS[name](session, f"python -m bench {name}")

    assert result.tables
    assert Result.read(result.write(tmp_path)).names() == result.names()


def test_help_names_every_benchmark(capsys):
    with pytest.raises(SystemExit):
        command.main(["--help"])

    shown = capsys.readouterr().out
    assert [name for name in BENCHMARKS if name not in shown] == []
