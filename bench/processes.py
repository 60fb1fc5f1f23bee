"""The processes that are measured: the commands that users run, and the references."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.config import ROOT
from deploy.local.ending import end
from deploy.local.output import last_lines

SECONDS_TO_STOP = 30
LINES_OF_A_FAILURE = 30


class Failed(Exception):
    """A measured process ended, or did not get done."""


@dataclass
class Started:
    """A process that runs.

    Args:
        name: what its time is counted as.
    """

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raise Failed if it has ended with an error."""
        if self.process.poll():
            lines = "\n".join(last_lines(self.log, LINES_OF_A_FAILURE))
            raise Failed(f"{self.name} ended with status {self.process.returncode}:\n{lines}")

    def stop(self) -> None:
        end(self.process, within=SECONDS_TO_STOP)


class Processes:
    """Starts processes, with their output in files.

    Args:
        environment: what all of them get.
        logs: where to keep their output.
    """

    def __init__(self, environment: Mapping[str, str], logs: Path) -> None:
        self._environment = dict(environment) | {"PYTHONWARNINGS": "ignore"}
        self._logs = logs
        self._count = 0

    def manage(self, command: str, extra: Mapping[str, str], *arguments: str) -> Started:
        """Start `manage.py COMMAND`."""
        return self._start(command, ("manage.py", command, *arguments), extra)

    def module(self, name: str, extra: Mapping[str, str], *arguments: str) -> Started:
        """Start `python -m bench.NAME`."""
        return self._start(name, ("-m", f"bench.{name}", *arguments), extra)

    def python(self, name: str, extra: Mapping[str, str], *arguments: str) -> Started:
        """Start Python with any other arguments."""
        return self._start(name, arguments, extra)

    def run(self, command: str, extra: Mapping[str, str], *arguments: str) -> None:
        """Run `manage.py COMMAND` to its end."""
        started = self.manage(command, extra, *arguments)
        started.process.wait()
        started.check()

    def _start(self, name: str, arguments: Sequence[str], extra: Mapping[str, str]) -> Started:
        self._count += 1
        log = self._logs / f"bench-{self._count:03}-{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env=self._environment | dict(extra),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return Started(name, process, log)


@contextmanager
def stopped_at_the_end(started: Sequence[Started]) -> Iterator[None]:
    try:
        yield
    finally:
        for each in started:
            each.stop()


def wait_until(
    condition: Callable[[], bool], started: Sequence[Started], *, seconds: float, every: float
) -> None:
    """Ask again and again; raises Failed if a process has ended or the time is up."""
    deadline = time.monotonic() + seconds
    while not condition():
        for each in started:
            each.check()
        if time.monotonic() > deadline:
            names = ", ".join(each.name for each in started) or "it"
            logs = "\n".join("\n".join(last_lines(each.log, 10)) for each in started)
            raise Failed(f"{names} did not get done within {seconds:.0f} s.\n{logs}")
        time.sleep(every)
