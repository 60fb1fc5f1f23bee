"""What the relay asks of the database: plain SQL and plain PyMongo, a few statements a batch."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from django.db import connection

from apps.outbox.records import Row


class LeaseLost(Exception):
    """Another relay has taken over; whatever this one still had in hand is the other's."""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right to publish the store's events.

    Args:
        owner: the relay process.
        epoch: grows with each owner; what an earlier owner writes late matches nothing.
    """

    owner: str
    epoch: int


@dataclass(frozen=True, kw_only=True)
class Page:
    """Where to read on.

    Args:
        after: the last aggregate id that was read.
        is_unfinished: more of that aggregate's events may be waiting.
    """

    after: str
    is_unfinished: bool


@dataclass(frozen=True, kw_only=True)
class Delay:
    """A row to try again later; those behind it in its key wait as well."""

    event_id: uuid.UUID
    due_at: datetime
    error: str


@dataclass(kw_only=True)
class Settlement:
    """What became of a batch's rows."""

    published: list[uuid.UUID] = field(default_factory=list)
    dead: list[tuple[uuid.UUID, str]] = field(default_factory=list)
    delayed: list[Delay] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.published or self.dead or self.delayed)


class Store(Protocol):
    """The outbox as the relay sees it. Times are those of the database, whose clock all share."""

    def acquire(self, owner: str, seconds: float) -> Lease | None:
        """Take the lease if nobody holds it, with a new epoch."""
        ...

    def renew(self, lease: Lease, seconds: float) -> None:
        """Hold the lease for longer; raises LeaseLost."""
        ...

    def release(self, lease: Lease) -> None:
        """Let another relay begin at once."""
        ...

    def pending(self, page: Page | None, limit: int) -> list[Row]:
        """Read rows that wait, from one moment, by aggregate and then by version."""
        ...

    def settle(self, lease: Lease, seconds: float, settlement: Settlement) -> None:
        """Note what became of the rows and renew the lease, both or neither; raises LeaseLost."""
        ...

    def arm(self) -> None:
        """Begin to watch for new rows, before a last look at those that are there."""
        ...

    def wait(self, seconds: float, known: set[uuid.UUID]) -> None:
        """Wait until a row comes that is not known, or the time is up."""
        ...

    def close(self) -> None:
        """Stop watching."""
        ...


def open_store(name: str = "relay") -> Store:
    """Return the store of the default database; relays of one name share one lease."""
    if connection.vendor == "mongodb":
        from apps.outbox.stores.mongodb import MongoStore  # noqa: PLC0415 (one driver a service)

        return MongoStore(name)
    from apps.outbox.stores.postgresql import PostgresStore  # noqa: PLC0415

    return PostgresStore(name)
