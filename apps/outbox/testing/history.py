"""What was said, sent and done in a run: plain data, which `check` (checker.py) judges.

It needs no Django, so that any process may note its part and any test may plant a fault;
`reading.py` fills a history from real topics and the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What the client was told of its transaction; a killed client was told nothing."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """An event wherever it is met. What is empty is not known there, and not compared.

    Args:
        payload: a digest of its fields.
        headers: a digest of its record's headers.
    """

    id: str
    topic: str
    key: str
    version: int
    type: str = ""
    payload: str = ""
    headers: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Transaction:
    """One attempt at a transaction, as its client saw it."""

    outcome: Outcome
    events: tuple[Event, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A row of the outbox."""

    event: Event
    state: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """A record of a topic."""

    event: Event
    partition: int
    offset: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Letter:
    """A dead letter; of the relay when it has no group."""

    event_id: str
    topic: str
    state: str
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a consumer group has done with its topics.

    Args:
        types: the types that it handles; all if there are none.
        received: the event ids in its inbox.
        waiting: the ids of events that are parked for another try.
        effects: how often the effect took place for each key; None if nobody counted.
    """

    group: str
    topics: frozenset[str]
    received: tuple[str, ...]
    types: frozenset[str] = frozenset()
    waiting: frozenset[str] = frozenset()
    effects: Mapping[str, int] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """Something that was done to a process.

    Args:
        at: seconds since 1970.
        in_flight: how many records it may have sent without having noted it.
    """

    at: float
    what: str
    in_flight: int = 0


@dataclass(kw_only=True)
class History:
    """All that is known of a run. Streams are read once, and only digests are kept of them.

    Args:
        deliveries: the records of the topics, in order within each partition.
        rows: the outbox; None if it was not read.
        buried: the records of the dead-letter topics; None if they were not read.
    """

    transactions: Iterable[Transaction]
    deliveries: Iterable[Delivery]
    rows: Iterable[Row] | None = None
    letters: Iterable[Letter] = ()
    buried: Iterable[Delivery] | None = None
    readings: Iterable[Reading] = ()
    faults: Iterable[Fault] = ()


def committed(rows: Iterable[Row]) -> Iterator[Transaction]:
    """Take each row for a transaction of its own, where nobody noted what clients were told."""
    for row in rows:
        yield Transaction(outcome=Outcome.COMMITTED, events=(row.event,))
