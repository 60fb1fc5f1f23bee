"""How a partition waits for its first record without holding up the others."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

from .dead_letters import Failure, Record
from .worker import spread

MOST_VERSIONS = 10_000


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long and how often to try. Times are in seconds.

    Args:
        attempts: how often a handler may fail in a row, while its partition waits.
        first_delay: the wait after the first failure; each further one doubles it.
        longest_delay: where the doubling ends.
        longest_outage_delay: the same while a server is away, which spends no attempt.
        delays: how long to put a record off after that, each time with one more attempt.
        deadline: how long after its first failure a record is put off no more.
        limit: how many dead letters of the group in `limit_window` stop the consumer.
        limit_window: see `limit`.
    """

    attempts: int = 3
    first_delay: float = 0.2
    longest_delay: float = 30.0
    longest_outage_delay: float = 3.0
    delays: tuple[int, ...] = ()
    deadline: float = 3600.0
    limit: int = 100
    limit_window: float = 60.0

    def after_failure(self, failures: int) -> float:
        return spread(self.first_delay, failures, self.longest_delay)

    def after_outage(self, times: int) -> float:
        return spread(self.first_delay, times, self.longest_outage_delay)

    def put_off(self, failure: Failure) -> int | None:
        """Return for how many seconds the record is put off; None if it has had all its tries."""
        step = max(0, failure.attempts - self.attempts)
        age = (failure.last_failed_at - failure.first_failed_at).total_seconds()
        return None if step >= len(self.delays) or age >= self.deadline else self.delays[step]


@dataclass(kw_only=True, slots=True)
class Entry:
    """A record in hand.

    Args:
        record: as it was on the topic that it first came from.
        offset: where it lies in the partition that it was read from.
        attempts: how often it was tried before it came here.
        first_failed_at: when it failed for the first time.
        due_at: before when it must not be tried again.
    """

    record: Record
    offset: int
    attempts: int = 0
    first_failed_at: datetime | None = None
    due_at: datetime | None = None
    is_done: bool = False


@dataclass(kw_only=True)
class Lane:
    """One partition: its records in hand, the first of which is tried until it is dealt with."""

    topic: str
    partition: int
    entries: deque[Entry] = field(default_factory=deque)
    due: float = 0.0
    outages: int = 0
    verdict: Failure | None = None
    """Why the first record is not tried any more here; what follows from it is still to be done."""
    is_paused: bool = False
    is_known: bool = False
    """Whether it is known which of its keys are blocked."""
    done: int | None = None
    committed: int | None = None
    acknowledged: int | None = None
    """What the broker has as committed, as far as it has answered."""

    versions: dict[bytes, int] = field(default_factory=dict)

    @property
    def place(self) -> tuple[str, int]:
        return self.topic, self.partition

    @property
    def is_busy(self) -> bool:
        return bool(self.entries) or not self.is_known

    def advance(self) -> None:
        """Go past what is done at the head; only that may be committed."""
        while self.entries and self.entries[0].is_done:
            self.done = self.entries.popleft().offset + 1
            self.due, self.outages, self.verdict = 0.0, 0, None

    def leaves_gap(self, record: Record) -> bool:
        """Note the record's version, and say whether the one before it of its key never came.

        Only what this process has seen is known, and of the keys only the latest ten thousand.
        """
        text = record.header("ce_sequence") or ""
        if record.key is None or not text.isascii() or not text.isdigit():
            return False
        version = int(text)
        last = self.versions.pop(record.key, None)
        self.versions[record.key] = max(version, last or 0)
        if len(self.versions) > MOST_VERSIONS:
            del self.versions[next(iter(self.versions))]
        return last is not None and version > last + 1
