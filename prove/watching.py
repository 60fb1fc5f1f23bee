"""Looks at every process of ours through the run: how much it holds, and what it complains of."""

from __future__ import annotations

import threading
import time
import xmlrpc.client
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psutil

from deploy.local.output import Follower
from deploy.local.status import family
from prove import logs, memory
from prove.faults import Done
from prove.logs import Complaint, Reader
from prove.memory import Sample
from prove.rules import Violation
from prove.world import World

SECONDS_BETWEEN_LOOKS = 2.0
RULES = {
    "memory": "no process holds ever more memory, open files and connections",
    "logs": "no traceback and no error but what a fault explains",
}


@dataclass
class Watch:
    """What was seen so far."""

    samples: list[Sample] = field(default_factory=list)
    complaints: list[Complaint] = field(default_factory=list)

    def judge(self, done: Sequence[Done]) -> list[Violation]:
        """Return what broke the rules of what is watched."""
        return [*memory.judge(self.samples), *logs.judge(self.complaints, done)]


@contextmanager
def watching(system: World, names: Sequence[str]) -> Iterator[Watch]:
    """Look at these processes, and at those beside them, from a thread of its own.

    Args:
        system: where they run.
        names: of processes of ours.
    """
    watch, over = Watch(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look, system, names, watch, over)
        try:
            yield watch
        finally:
            over.set()
    looking.result()  # a rule that nobody looked at any more has not held


def logs_of(name: str) -> tuple[str, ...]:
    """Return which logs there are of a kind of process (World.start_twin, start_of)."""
    return name, f"{name}-twin", f"{name}-earlier", f"{name}-newer"


def look(
    system: World,
    names: Sequence[str],
    watch: Watch,
    over: threading.Event,
) -> None:
    """Look again and again until it is over, and once more then."""
    paths = {log: system.config.logs / f"{log}.log" for name in names for log in logs_of(name)}
    follower, reader = Follower(paths), Reader()
    is_last = False
    while not is_last:
        is_last = over.wait(SECONDS_BETWEEN_LOOKS)
        at = time.time()
        with suppress(OSError, xmlrpc.client.Error):  # supervisord is busy, or ends
            watch.samples += sample(system, names, at)
        for name, line in follower.new_lines():
            if complaint := reader.read(at, name, line):
                watch.complaints.append(complaint)


def sample(system: World, names: Sequence[str], at: float) -> Iterator[Sample]:
    """Measure each process that is there, and what it has forked, each by itself."""
    infos = system.supervisor.infos()
    for name in names:
        for member in family(int(infos[name]["pid"])):
            with suppress(psutil.Error):
                yield Sample(
                    at=at,
                    name=name,
                    pid=member.pid,
                    memory=member.memory_info().rss,
                    files=member.num_fds(),
                )
