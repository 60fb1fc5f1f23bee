"""Does a process hold more and more? Judged by what was sampled of it.

A process may grow while it starts, fills its pools and caches, or is busier than before; that ends.
What leaks does not end. So the time that a process lived, less its start, is cut into thirds, and
it is at fault if what it held in the middle of them (the median) grew both times by more than what
the allocator and a few connections make.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from prove.rules import Violation

START_SECONDS = 30.0
LONG_ENOUGH_SECONDS = 120.0
"""Who lived less than so long after its start is not judged: its thirds would say nothing."""
GROWTH = 0.05
FILES = 10
MEGABYTE = 1_000_000
THIRDS = 3


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What one process held at one moment.

    Args:
        at: seconds since 1970.
        name: as in the stack.
        pid: a process that was started anew is another one.
        memory: resident, in bytes.
        files: open files and connections.
    """

    at: float
    name: str
    pid: int
    memory: int
    files: int


@dataclass(frozen=True, kw_only=True)
class Life:
    """What a process held in the three thirds of its life, by the median of each."""

    name: str
    seconds: float
    memory: tuple[float, ...]
    files: tuple[float, ...]

    @property
    def growth(self) -> float:
        """By which part of itself its memory grew from the first third to the last."""
        return self.memory[-1] / self.memory[0] - 1


def lives(samples: Iterable[Sample]) -> list[Life]:
    """Return everybody who lived long enough, who grew most first."""
    by_process: dict[tuple[str, int], list[Sample]] = defaultdict(list)
    for sample in samples:
        by_process[sample.name, sample.pid].append(sample)
    found = []
    for (name, _), seen in by_process.items():
        began = seen[0].at + START_SECONDS
        seconds = seen[-1].at - began
        if seconds < LONG_ENOUGH_SECONDS:
            continue
        thirds: list[list[Sample]] = [[] for _ in range(THIRDS)]
        for each in seen:
            if each.at >= began:
                thirds[min(int((each.at - began) / seconds * THIRDS), THIRDS - 1)].append(each)
        if all(thirds):
            found.append(
                Life(
                    name=name,
                    seconds=seconds,
                    memory=tuple(median(each.memory for each in third) for third in thirds),
                    files=tuple(median(each.files for each in third) for third in thirds),
                )
            )
    return sorted(found, key=lambda life: life.growth, reverse=True)


def judge(samples: Iterable[Sample]) -> Iterator[Violation]:
    """Name everybody who grew, and went on growing."""
    for life in lives(samples):
        first, middle, last = life.memory
        if grew(life.memory, (GROWTH * first, GROWTH * middle)):
            megabytes = " ".join(f"{each / MEGABYTE:.0f}" for each in (first, middle, last))
            yield Violation(
                rule="memory",
                subject=life.name,
                evidence=f"{megabytes} MB in the thirds of {life.seconds:.0f} s",
            )
        if grew(life.files, (FILES, FILES)):
            counts = " ".join(f"{each:.0f}" for each in life.files)
            yield Violation(
                rule="memory",
                subject=life.name,
                evidence=f"{counts} open files and connections in the thirds of "
                f"{life.seconds:.0f} s",
            )


def grew(thirds: Sequence[float], by: Sequence[float]) -> bool:
    """Whether each third has more than the one before, by more than is allowed."""
    steps = zip(thirds, thirds[1:], by, strict=False)
    return all(after - before > allowed for before, after, allowed in steps)
