"""Clocks of real processes, set while they run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from prove.clocks import INJECTED, listens, set_clocks
from prove.injected.sitecustomize import STACK, clocks

HOUR = 3600.0
# Two names that were taken before the clock moved, a clock that must not move, and a fork.
TELL = """
import os, sys
from datetime import datetime, timezone
from time import monotonic, time

if "fork" in sys.argv and os.fork():
    os.wait()
    sys.exit()
print(os.getpid(), flush=True)
for line in sys.stdin:
    print(time(), datetime.now(timezone.utc).timestamp(), monotonic(), flush=True)
"""


class Teller:
    """A process that says what time it is by its clocks, whenever it is asked."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.pid = int(self.process.stdout.readline())

    def ask(self) -> tuple[float, float, float]:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        of_time, of_datetime, monotonic = map(float, self.process.stdout.readline().split())
        return of_time, of_datetime, monotonic


@pytest.fixture
def start(tmp_path: Path) -> Iterator:
    (tmp_path / "run").mkdir()
    with ExitStack() as stack:

        def start(*arguments: str, injected: Path = INJECTED) -> Teller:
            process = subprocess.Popen(
                [sys.executable, "-c", TELL, *arguments],
                env={**os.environ, "PYTHONPATH": str(injected), STACK: str(tmp_path)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)  # closes what it reads from, waits for its end
            return Teller(process)

        yield start


@pytest.mark.parametrize("arguments", [(), ("fork",)], ids=["process", "forked"])
@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
def test_clock_of_a_running_process_jumps_and_comes_back(start, tmp_path, ahead, arguments):
    teller = start(*arguments)
    true = teller.ask()

    set_clocks([teller.pid], ahead, clocks(tmp_path))
    jumped = teller.ask()
    set_clocks([teller.pid], 0, clocks(tmp_path))
    back = teller.ask()

    assert jumped[0] - true[0] == pytest.approx(ahead, abs=30)
    assert jumped[1] - true[1] == pytest.approx(ahead, abs=30)
    assert 0 <= jumped[2] - true[2] < 30
    assert 0 <= back[0] - true[0] < 30
    assert 0 <= back[1] - true[1] < 30


def test_second_jump_counts_from_the_true_time(start, tmp_path):
    teller = start()

    set_clocks([teller.pid], HOUR, clocks(tmp_path))
    ahead = teller.ask()
    set_clocks([teller.pid], -HOUR, clocks(tmp_path))
    behind = teller.ask()

    assert behind[0] - ahead[0] == pytest.approx(-2 * HOUR, abs=30)


def test_process_that_does_not_listen_is_left_alone(start, tmp_path):
    teller = start(injected=tmp_path)

    set_clocks([teller.pid], HOUR, clocks(tmp_path))

    assert not listens(teller.pid)
    assert teller.ask()[0] == pytest.approx(time.time(), abs=30)


def test_process_that_has_ended_is_left_out(start, tmp_path):
    teller = start()
    teller.process.kill()
    teller.process.wait()

    set_clocks([teller.pid], HOUR, clocks(tmp_path))

    assert not listens(teller.pid)
