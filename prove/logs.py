"""Did a process complain of anything that no fault explains?

A complaint is a line of level error or critical, and every traceback. It is explained by an entry
of EXPECTED that it fits, if a fault of one of the entry's kinds ran then or a little before.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from prove.faults import Done
from prove.rules import Violation

COMPLAINING = frozenset({"error", "critical"})
# Before a process has connected anew, has tried its last batch again, or was asked again.
AFTERMATH_SECONDS = 60.0
LONGEST_EVIDENCE = 300
TRACEBACK = "Traceback (most recent call last):"
# [2026-03-01 12:00:00 +0000] [4242] [ERROR] …: gunicorn's own lines.
OF_GUNICORN = re.compile(r"\[[^]]+\] \[\d+\] \[(?P<level>[A-Z]+)\] (?P<text>.*)")
CHANGING = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8}-[0-9a-f-]{27}|\d+")


@dataclass(frozen=True, kw_only=True)
class Complaint:
    """One thing that a process complained of.

    Args:
        at: when it was read, in seconds since 1970; a clock that jumped writes other times.
        name: of the process.
        text: who says what, and which exceptions led to it.
    """

    at: float
    name: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A complaint that a fault explains.

    Args:
        pattern: found in its text.
        kinds: of the faults that explain it.
        why: it is right to complain, and no harm.
    """

    pattern: str
    kinds: frozenset[str]
    why: str


OUTAGES = frozenset({"kill", "term", "stop", "down", "full", "cut", "slow", "stall"})
EXPECTED = (
    Expected(
        pattern=r"^django\.request: (Service Unavailable|Gateway Timeout)",
        kinds=OUTAGES,
        why="a page that needs a server which is away says so with 503, and the log with it",
    ),
    Expected(
        pattern=r"message_dead|raw_row_dead_lettered",
        kinds=frozenset({"poison"}),
        why="a person must look at a dead letter, so that it is an error; the rule of dead letters "
        "judges which there may be",
    ),
    Expected(
        pattern=r"File too large",
        kinds=frozenset({"full"}),
        why="what PostgreSQL and mongod answer when they cannot write",
    ),
    Expected(
        pattern=r"^celery\.app\.trace: Task expiration\..*(AutoReconnect|NetworkTimeout|"
        r"ServerSelectionTimeoutError|NotPrimaryError)",
        kinds=OUTAGES,
        why="a sweep or an alarm that found no mongod; the next sweep comes within a second",
    ),
    Expected(
        pattern=r"^celery\.worker.*(Cannot connect to redis|Unrecoverable error)",
        kinds=OUTAGES,
        why="the worker tries again, or ends where Celery cannot and is started anew; beat sweeps "
        "meanwhile",
    ),
)


@dataclass
class Reader:
    """Finds the complaints among the lines of logs."""

    _inside: set[str] = field(default_factory=set)
    """Whose traceback is being read."""

    def read(self, at: float, name: str, line: str) -> Complaint | None:
        """Return what a line complains of, if it does.

        A traceback that no logger wrote is one of its last line, which names the exception.
        """
        if line.startswith("{"):
            self._inside.discard(name)
            text = of_json(line)
        elif line.startswith(TRACEBACK):
            self._inside.add(name)
            text = ""
        elif name in self._inside:
            text = "" if line.startswith(" ") or not line else line
            if text:
                self._inside.discard(name)
        else:
            own = OF_GUNICORN.match(line)
            is_one = own is not None and own["level"].lower() in COMPLAINING
            text = own["text"] if own and is_one else ""
        return Complaint(at=at, name=name, text=text) if text else None


def of_json(line: str) -> str:
    """Return the text of a structured line that complains; empty if it does not."""
    try:
        entry = json.loads(line)
    except ValueError:
        return ""
    exceptions = entry.get("exception", ())
    if entry.get("level") not in COMPLAINING and not exceptions:
        return ""
    causes = [f"{each['exc_type']}: {each['exc_value']}" for each in exceptions]
    more = [str(entry[name]) for name in ("error", "reason") if name in entry]
    said = f"{entry.get('logger')}: {entry.get('event')}"
    return " <- ".join((said, *more, *causes))


def judge(complaints: Iterable[Complaint], done: Sequence[Done]) -> Iterator[Violation]:
    """Name the complaints that nothing explains: each kind of each process once."""
    found: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], Complaint] = {}
    for complaint in complaints:
        if not is_explained(complaint, done):
            key = complaint.name, CHANGING.sub("#", complaint.text)
            found[key] += 1
            first.setdefault(key, complaint)
    for key, times in found.items():
        text = first[key].text[:LONGEST_EVIDENCE]
        yield Violation(rule="logs", subject=key[0], evidence=f"{times} times: {text}")


def is_explained(complaint: Complaint, done: Sequence[Done]) -> bool:
    """Whether a fault that ran then, or a little before, is a reason for the complaint."""
    recent = {
        each.fault.kind
        for each in done
        if each.began <= complaint.at <= each.ended + AFTERMATH_SECONDS
    }
    return any(
        expected.kinds & recent and re.search(expected.pattern, complaint.text, re.DOTALL)
        for expected in EXPECTED
    )
