"""How a partition waits for its first record without holding up the others."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

from apps.outbox.dead_letters import Failure, Record
from apps.outbox.worker import spread


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long and how often to try. Times are in seconds.

    Args:
        attempts: how often a handler may fail before its message is a dead letter.
        first_delay: the wait after the first failure; each further one doubles it.
        longest_delay: where the doubling ends.
        longest_outage_delay: the same while a server is away, which spends no attempt.
        limit: how many dead letters of the group in `limit_window` stop the consumer.
        limit_window: see `limit`.
    """

    attempts: int = 8
    first_delay: float = 0.2
    longest_delay: float = 30.0
    longest_outage_delay: float = 3.0
    limit: int = 100
    limit_window: float = 60.0

    def after_failure(self, failures: int) -> float:
        return spread(self.first_delay, failures, self.longest_delay)

    def after_outage(self, times: int) -> float:
        return spread(self.first_delay, times, self.longest_outage_delay)


@dataclass(kw_only=True)
class Lane:
    """One partition: its records in hand, the first of which is tried until it is dealt with."""

    records: deque[Record] = field(default_factory=deque)
    due: float = 0.0
    attempts: int = 0
    outages: int = 0
    first_failed_at: datetime | None = None
    verdict: Failure | None = None
    is_paused: bool = False
    done: int | None = None
    committed: int | None = None

    def next(self) -> None:
        record = self.records.popleft()
        self.done = (record.offset or 0) + 1
        self.due, self.attempts, self.outages = 0.0, 0, 0
        self.first_failed_at = self.verdict = None
