"""Is every committed event accounted for? The outbox compared with what is on its topics.

The rows are read first and the topics after them. So a row that was published must be found, and a
record that no row explains is either newer than the look at the rows, or was pruned since, or is
nobody's. Each row costs 26 bytes and each key some 200: ten million events of a hundred thousand
keys need about 300 MB.
"""

from __future__ import annotations

import uuid
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from .models import OutboxEvent

State = OutboxEvent.State
MOST_SHOWN = 100
ID_BYTES = 16
Key = tuple[str, bytes]
Version = tuple[str, bytes, int]
STATES = (State.PENDING, State.CAPTURED, State.PUBLISHED, State.DEAD)


class Kind(StrEnum):
    LOST = "marked as published, and not on its topic"
    LOST_BEHIND_CAPTURE = "captured long ago, and neither on its topic nor a dead letter"
    INVENTED = "on a topic, and never committed"
    WENT_BACK = "sent for the first time behind a later version of its key"
    GAP = "a version of its key was passed over"
    NO_LETTER = "given up without a dead letter"
    SENT_ALL_THE_SAME = "given up, and on its topic all the same"
    LETTER_NOT_ON_TOPIC = "a dead letter that its topic does not have"
    NO_TOPIC = "a topic that does not exist"


@dataclass(frozen=True, kw_only=True)
class Violation:
    kind: Kind
    subject: str


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A record of a topic: what an audit needs of it."""

    event_id: str
    topic: str
    key: bytes
    version: int


@dataclass(kw_only=True)
class Balance:
    """The sum: committed = published + dead + waiting + on the way."""

    committed: int = 0
    published: int = 0
    dead: int = 0
    pending: int = 0
    captured: int = 0
    on_topics: int = 0
    on_the_way: int = 0
    repeated: int = 0
    newer: int = 0
    pruned: int = 0
    counts: Counter[Kind] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)

    def find(self, kind: Kind, subject: str) -> None:
        """Count a violation, and keep the first ones to show."""
        self.counts[kind] += 1
        if self.counts[kind] <= MOST_SHOWN:
            self.violations.append(Violation(kind=kind, subject=subject))


class Rows:
    """The outbox's rows in the order of their ids: state, and how often each was found."""

    def __init__(self) -> None:
        self._ids = bytearray()
        self._states = bytearray()
        self._seen = array("Q")

    def add(self, event_id: uuid.UUID, state: str) -> None:
        """Add a row; ids only grow."""
        self._ids += event_id.bytes
        self._states.append(STATES.index(State(state)))
        self._seen.append(0)

    def find(self, event_id: bytes) -> int | None:
        """Return the row's place; None if there is none of that id."""
        place = bisect_left(range(len(self._states)), event_id, key=self._id)
        known = place < len(self._states) and self._id(place) == event_id
        return place if known else None

    def see(self, place: int) -> int:
        """Note that the row's record was found, and return how often it was now."""
        self._seen[place] += 1
        return self._seen[place]

    def __iter__(self) -> Iterator[tuple[uuid.UUID, State, int]]:
        for place, state in enumerate(self._states):
            yield uuid.UUID(bytes=self._id(place)), STATES[state], self._seen[place]

    def _id(self, place: int) -> bytes:
        return bytes(self._ids[place * ID_BYTES : (place + 1) * ID_BYTES])


@dataclass(frozen=True, kw_only=True)
class Letters:
    """What the store knows of the events that were given up.

    Args:
        of_relay: the events that have a dead letter of the relay.
        of_raw: those that have one of the raw worker.
        on_topics: those whose dead letters are on the dead-letter topics.
        expected: those that must be on them.
        redriven: those that were sent again later, and so out of order.
        versions: the versions of the keys that are or were missing for it.
    """

    of_relay: Collection[str] = ()
    of_raw: Collection[str] = ()
    on_topics: Collection[str] = ()
    expected: Collection[str] = ()
    redriven: Collection[str] = ()
    versions: Collection[Version] = ()


def compare(  # noqa: PLR0913 (what an audit knows)
    rows: Rows,
    sent: Iterable[Sent],
    letters: Letters,
    *,
    is_newer: Callable[[uuid.UUID], bool],
    is_pruned: Callable[[uuid.UUID], bool],
    must_have_arrived: Callable[[uuid.UUID], bool],
    still_unknown: Callable[[list[str]], set[str]],
) -> Balance:
    """Hold the rows against the records.

    Args:
        rows: read before the records.
        sent: the records, each partition in order.
        letters: of these rows.
        is_newer: says that an event may have been committed after the rows were read.
        is_pruned: says that an event's row may have been removed.
        must_have_arrived: says that a captured event is surely past change data capture.
        still_unknown: returns those of the ids that have no row now, either.
    """
    balance = Balance()
    unknown: list[str] = []
    versions = _Versions(balance=balance, letters=letters)
    for each in sent:
        balance.on_topics += 1
        event_id = _uuid(each.event_id)
        place = None if event_id is None else rows.find(event_id.bytes)
        if place is not None and rows.see(place) > 1:
            balance.repeated += 1
            continue
        if event_id is None:
            balance.find(Kind.INVENTED, f"{each.topic}: {each.event_id or 'a record without id'}")
            continue
        if place is None:
            if is_newer(event_id):
                balance.newer += 1
            elif is_pruned(event_id):
                balance.pruned += 1
                versions.pass_by(each)
            else:
                unknown.append(each.event_id)
        else:
            versions.follow(each)
    for event_id_text in sorted(still_unknown(unknown)):
        balance.find(Kind.INVENTED, event_id_text)
    for gap in versions.gaps():
        balance.find(Kind.GAP, gap)
    _judge(balance, rows, letters, must_have_arrived)
    for event_id_text in sorted(set(letters.expected) - set(letters.on_topics)):
        balance.find(Kind.LETTER_NOT_ON_TOPIC, event_id_text)
    return balance


@dataclass(kw_only=True)
class _Versions:
    """The versions of each key, in the order of its topic."""

    balance: Balance
    letters: Letters
    newest: dict[Key, int] = field(default_factory=dict)
    missing: set[Version] = field(default_factory=set)

    def pass_by(self, each: Sent) -> None:
        """Note an event of which the store knows nothing any more."""
        key = (each.topic, each.key)
        self.newest[key] = max(self.newest.get(key, 0), each.version)

    def follow(self, each: Sent) -> None:
        """Check an event that is met for the first time."""
        key = (each.topic, each.key)
        before = self.newest.get(key, each.version - 1)
        self.missing.discard((*key, each.version))
        self.missing |= {(*key, version) for version in range(before + 1, each.version)}
        if each.version < before and each.event_id not in self.letters.redriven:
            self.balance.find(Kind.WENT_BACK, f"{_name(each)} {each.event_id}, behind v{before}")
        self.newest[key] = max(before, each.version)

    def gaps(self) -> Iterator[str]:
        for topic, key, version in sorted(self.missing - set(self.letters.versions)):
            yield f"{topic} {key.decode(errors='replace')} v{version}"


def _judge(
    balance: Balance,
    rows: Rows,
    letters: Letters,
    must_have_arrived: Callable[[uuid.UUID], bool],
) -> None:
    for event_id, state, seen in rows:
        balance.committed += 1
        name = str(event_id)
        match state:
            case State.PUBLISHED:
                balance.published += 1
                if not seen:
                    balance.find(Kind.LOST, name)
            case State.CAPTURED:
                _judge_captured(balance, event_id, letters, must_have_arrived, is_seen=seen > 0)
            case State.DEAD:
                balance.dead += 1
                if name not in letters.of_relay:
                    balance.find(Kind.NO_LETTER, name)
                if seen and name not in letters.redriven:
                    balance.find(Kind.SENT_ALL_THE_SAME, name)
            case State.PENDING:
                balance.pending += 1


def _judge_captured(
    balance: Balance,
    event_id: uuid.UUID,
    letters: Letters,
    must_have_arrived: Callable[[uuid.UUID], bool],
    *,
    is_seen: bool,
) -> None:
    """No row says what became of it: only its topic does, or a dead letter."""
    balance.captured += 1
    if is_seen:
        balance.published += 1
    elif str(event_id) in letters.of_raw:
        balance.dead += 1
    else:
        balance.on_the_way += 1
        if must_have_arrived(event_id):
            balance.find(Kind.LOST_BEHIND_CAPTURE, str(event_id))


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _name(each: Sent) -> str:
    return f"{each.topic} {each.key.decode(errors='replace')} v{each.version}"
