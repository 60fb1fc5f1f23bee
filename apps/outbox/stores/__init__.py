"""What the relay asks of the database: plain SQL and plain PyMongo, a few statements a batch."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

from django.db import connection

from ..failures import LeaseLost
from ..records import Row

__all__ = ("LeaseLost",)
LAST_VERSION = 2**63 - 1


class Share(NamedTuple):
    """A run of slots: the keys that one relay publishes."""

    first: int
    last: int


class Member(NamedTuple):
    """A relay at work, or one that has died if its time is over."""

    owner: str
    is_over: bool


@dataclass(frozen=True, kw_only=True)
class Holding:
    """The slots that a relay has after it gave and took.

    Args:
        slots: their numbers, in order.
        orphans: those among them that were taken from a relay that has died.
    """

    slots: tuple[int, ...]
    orphans: frozenset[int] = frozenset()


class Page(NamedTuple):
    """Where to read on: at this place of the order, which may hold rows that were read already."""

    slot: int
    aggregate_id: str = ""
    version: int = 0


@dataclass(frozen=True, kw_only=True)
class Delay:
    """A row to try again later; those behind it in its key wait as well."""

    event_id: uuid.UUID
    seconds: float
    error: str


@dataclass(kw_only=True)
class Settlement:
    """What became of a batch's rows."""

    published: list[uuid.UUID] = field(default_factory=list)
    dead: list[tuple[uuid.UUID, str]] = field(default_factory=list)
    delayed: list[Delay] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.published or self.dead or self.delayed)

    def add(self, other: Settlement) -> None:
        self.published += other.published
        self.dead += other.dead
        self.delayed += other.delayed


class Store(Protocol):
    """The outbox as the relay sees it. Times are those of the database, whose clock all share."""

    def join(self, owner: str, seconds: float) -> None:
        """Become a member under a name that was never used before."""
        ...

    def renew(self, owner: str, seconds: float) -> None:
        """Stay a member for longer; raises LeaseLost."""
        ...

    def members(self) -> list[Member]:
        """Return all relays, in the order by which they divide the slots."""
        ...

    def evict(self, owner: str) -> bool:
        """Remove a member whose time is over, and say whether it was."""
        ...

    def leave(self, owner: str) -> None:
        """Stop being a member and free the slots, so that others may begin at once."""
        ...

    def share_out(self, owner: str, seconds: float, wanted: range) -> Holding:
        """Free what is not wanted and take what is wanted and free; raises LeaseLost."""
        ...

    def pending(self, page: Page, last_slot: int, limit: int) -> list[Row]:
        """Read rows that wait, from one moment, by slot, aggregate and version."""
        ...

    def settle(self, owner: str, seconds: float, settlement: Settlement) -> bool:
        """Note what became of the rows, and say whether that has renewed the lease.

        Raises:
            LeaseLost: the relay is no member any more; nothing was noted.
        """
        ...

    def backlog(self, slots: Sequence[int]) -> Mapping[str, datetime]:
        """Return the topics of the rows that wait, each with the time of its oldest event."""
        ...

    def has_captured(self) -> bool:
        """Say whether rows are left that were handed to change data capture."""
        ...

    def arm(self, shares: Sequence[Share]) -> None:
        """Begin to watch for new rows, before a last look at those that are there."""
        ...

    def wait(self, seconds: float, known: set[uuid.UUID]) -> bool:
        """Wait until a row comes that is not known, or the time is up; say whether one came."""
        ...

    def close(self) -> None:
        """Stop watching."""
        ...


def open_store() -> Store:
    """Return the store of the default database."""
    if connection.vendor == "mongodb":
        from .mongodb import MongoStore  # noqa: PLC0415 (one driver a service)

        return MongoStore()
    from .postgresql import PostgresStore  # noqa: PLC0415

    return PostgresStore()


def runs(slots: Sequence[int]) -> list[Share]:
    """Join slots into the longest runs."""
    found: list[Share] = []
    for slot in slots:
        if found and found[-1].last == slot - 1:
            found[-1] = Share(found[-1].first, slot)
        else:
            found.append(Share(slot, slot))
    return found
