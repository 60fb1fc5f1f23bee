"""Who used how much of the processors: the system's own account of each process."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import psutil

HARNESS = "harness"
OTHERS = "others"
# A server is known by what its command line holds.
KINDS = {
    "mongod": "bin/mongod",
    "postgres": "postgres",
    "kafka": "kafka.Kafka",
    "connect": "ConnectDistributed",
    "registry": "quarkus-run",
}


@dataclass(frozen=True)
class Reading:
    at: float
    busy: float
    """Seconds in which any processor of the machine worked, since it was started."""
    used: dict[str, float]

    def since(self, earlier: Reading) -> dict[str, float]:
        """Return the seconds that each used; `others` are all the processes that we do not know."""
        used = {name: used - earlier.used.get(name, 0.0) for name, used in self.used.items()}
        return used | {OTHERS: max(0.0, self.busy - earlier.busy - sum(used.values()))}


class CpuMeter:
    """Reads the processor time of the servers of one stack, and of processes that are added.

    Args:
        stack: the mark that the stack's processes carry in their environment.
    """

    def __init__(self, stack: str) -> None:
        self._servers: dict[str, psutil.Process] = {}
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("TICKETING_STACK") == stack:
                    self._note(process)

    def _note(self, process: psutil.Process) -> None:
        command = " ".join(process.cmdline())
        parent = process.parent()
        for kind, word in KINDS.items():
            # PostgreSQL's children are found through it, whenever they come and go.
            if word in command and not (parent and word in " ".join(parent.cmdline())):
                self._servers[kind] = process

    def read(self, processes: Iterable[tuple[str, int]] = ()) -> Reading:
        """Read the servers, and further processes by name and id; one name's are added up."""
        used = {kind: _seconds(process) for kind, process in self._servers.items()}
        used[HARNESS] = _own(psutil.Process(os.getpid()))
        for name, pid in processes:
            used[name] = used.get(name, 0.0) + _seconds(psutil.Process(pid))
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        # The time of guests is counted in the users' already.
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        return Reading(time.monotonic(), total - idle, used)


def _own(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _seconds(process: psutil.Process) -> float:
    """Return what the process and its children used, those that have ended included."""
    times = process.cpu_times()
    seconds = times.user + times.system + times.children_user + times.children_system
    for child in process.children():
        with suppress(psutil.Error):
            seconds += _own(child)
    return seconds
