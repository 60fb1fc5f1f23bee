"""Was every promise kept? `check` names what is wrong with a history, and what shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .history import Event, History, Outcome, Reading

PENDING, PUBLISHED, DEAD = "pending", "published", "dead"
REPLAYED = "replayed"

Key = tuple[str, str]


class Kind(StrEnum):
    LOST = "committed, and nowhere to be found"
    PRUNED = "its row is gone, and it was never sent"
    NOT_ON_TOPIC = "marked as published, and not on its topic"
    INVENTED = "never committed, and yet there"
    TORN = "a part of a transaction without the rest"
    DIFFERS = "not what was published"
    TWO_PARTITIONS = "one key on two partitions"
    WENT_BACK = "sent for the first time behind a later version of its key"
    REPEATED_LATE = "sent again behind a later version of its key"
    REPEATED = "sent again more often than the faults explain"
    COUNTED_TWICE = "in two places that exclude each other"
    LETTER_MISSING = "given up without a dead letter"
    LETTER_NOT_ON_TOPIC = "a dead letter that its topic does not have"
    EFFECT_MISSING = "delivered without an effect"
    EFFECT_DOUBLED = "more effects than events"


@dataclass(frozen=True, kw_only=True)
class Violation:
    """A promise that was not kept, with what shows it."""

    kind: Kind
    subject: str
    evidence: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.kind.value} ({self.evidence})"


def check(history: History, *, strict: bool = False, at_rest: bool = True) -> list[Violation]:
    """Return every violation of what the outbox promises; an empty list is what one hopes for.

    Args:
        history: what is known of the run; its streams are used up.
        strict: also refuse a repetition behind a later version of its key, which consumers that
            know event ids do not mind.
        at_rest: nothing is under way any more; else what is sent and not yet noted is no fault.
    """
    return list(_Checker(history, strict=strict, at_rest=at_rest).violations())


def report(violations: list[Violation], most: int = 20) -> str:
    """Write violations for a person: how many there are of each kind, and the first ones."""
    counts = Counter(violation.kind for violation in violations)
    lines = [f"{count} x {kind.value}" for kind, count in counts.most_common()]
    lines += [f"  {violation}" for violation in violations[:most]]
    if len(violations) > most:
        lines.append(f"  and {len(violations) - most} more")
    return "\n".join(lines)


@dataclass(kw_only=True, slots=True)
class _Sight:
    """What is remembered of an event on its topic."""

    event: Event
    place: str
    times: int = 1


@dataclass
class _Checker:
    history: History
    strict: bool = field(kw_only=True)
    at_rest: bool = field(kw_only=True)

    def violations(self) -> Iterator[Violation]:
        history = self.history
        self.told: dict[str, Event] = {}
        self.transactions = list(history.transactions)
        for transaction in self.transactions:
            self.told |= {event.id: event for event in transaction.events}
        self.rows = None if history.rows is None else {row.event.id: row for row in history.rows}
        self.letters = list(history.letters)
        # A letter that was replayed is a row, or a record, again.
        self.dead = {
            (letter.group, letter.event_id) for letter in self.letters if letter.state != REPLAYED
        }
        self.sights: dict[str, _Sight] = {}
        yield from self._deliveries()
        yield from self._repetitions()
        yield from self._rows()
        yield from self._transactions()
        yield from self._letters()
        for reading in history.readings:
            yield from self._reading(reading)

    def _deliveries(self) -> Iterator[Violation]:
        partitions: dict[Key, int] = {}
        newest: dict[Key, int] = {}
        for delivery in self.history.deliveries:
            event = delivery.event
            key = (event.topic, event.key)
            place = f"{event.topic}/{delivery.partition}@{delivery.offset}"
            if partitions.setdefault(key, delivery.partition) != delivery.partition:
                yield _violation(
                    Kind.TWO_PARTITIONS, event, f"{partitions[key]}, and then at {place}"
                )
            seen = self.sights.get(event.id)
            if seen is None:
                self.sights[event.id] = _Sight(event=event, place=place)
                known = self.told.get(event.id)
                went_back = event.version <= newest.get(key, 0)
            else:
                seen.times += 1
                known = seen.event
                went_back = event.version < newest.get(key, 0)
            if known is not None:
                yield from _compare(known, event, place)
            if went_back and (seen is None or self.strict):
                kind = Kind.WENT_BACK if seen is None else Kind.REPEATED_LATE
                yield _violation(kind, event, f"at {place}, behind version {newest[key]}")
            newest[key] = max(newest.get(key, 0), event.version)

    def _repetitions(self) -> Iterator[Violation]:
        faults = list(self.history.faults)
        bound = sum(fault.in_flight for fault in faults)
        again = [sight for sight in self.sights.values() if sight.times > 1]
        total = sum(sight.times - 1 for sight in again)
        if total > bound:
            worst = max(again, key=lambda sight: sight.times)
            yield Violation(
                kind=Kind.REPEATED,
                subject=f"{total} records",
                evidence=f"{bound} were in flight at {len(faults)} faults; "
                f"{worst.times} times {_name(worst.event)}",
            )

    def _rows(self) -> Iterator[Violation]:
        for row in (self.rows or {}).values():
            event_id = row.event.id
            if (told := self.told.get(event_id)) is None:
                continue  # told below, with what else was invented
            yield from _compare(told, row.event, "its row")
            if (sight := self.sights.get(event_id)) is not None:
                yield from _compare(row.event, sight.event, sight.place)
            is_dead = ("", event_id) in self.dead
            if row.state == DEAD and not is_dead:
                yield _violation(Kind.LETTER_MISSING, row.event, "its row is dead")
            elif self.at_rest and is_dead and row.state != DEAD:
                yield _violation(
                    Kind.COUNTED_TWICE, row.event, f"a dead letter, and its row is {row.state}"
                )
            elif self.at_rest and sight is not None and row.state in {PENDING, DEAD}:
                yield _violation(
                    Kind.COUNTED_TWICE, row.event, f"at {sight.place}, and its row is {row.state}"
                )

    def _transactions(self) -> Iterator[Violation]:
        for transaction in self.transactions:
            there = [event for event in transaction.events if self._is_there(event)]
            if transaction.outcome is Outcome.ABORTED:
                for event in there:
                    yield _violation(Kind.INVENTED, event, f"aborted; {self._where(event.id)}")
            elif transaction.outcome is Outcome.COMMITTED or there == list(transaction.events):
                for event in transaction.events:
                    yield from self._account(event)
            elif there:
                gone = [event for event in transaction.events if event not in there]
                for event in gone:
                    yield _violation(Kind.TORN, event, f"{_name(there[0])} is there")
        for event in self._untold():
            yield _violation(Kind.INVENTED, event, self._where(event.id))

    def _account(self, event: Event) -> Iterator[Violation]:
        """Find a committed event on its topic, among the dead letters, or still in its row."""
        if event.id in self.sights or ("", event.id) in self.dead:
            return
        if self.rows is None:
            yield _violation(Kind.LOST, event, "not on its topic, nor a dead letter")
        elif event.id not in self.rows:
            yield _violation(Kind.PRUNED, event, "not on its topic, nor a dead letter")
        elif (state := self.rows[event.id].state) == PUBLISHED:
            yield _violation(Kind.NOT_ON_TOPIC, event, "nor a dead letter")
        elif state not in {PENDING, DEAD} and self.at_rest:
            yield _violation(Kind.LOST, event, f"its row is {state}")

    def _untold(self) -> Iterator[Event]:
        for event_id, sight in self.sights.items():
            if event_id not in self.told:
                yield sight.event
        for event_id, row in (self.rows or {}).items():
            if event_id not in self.told and event_id not in self.sights:
                yield row.event

    def _letters(self) -> Iterator[Violation]:
        topics: dict[str, set[str]] | None = None
        if self.history.buried is not None:
            topics = {}
            for delivery in self.history.buried:
                topics.setdefault(delivery.event.topic, set()).add(delivery.event.id)
        written: set[tuple[str, str]] = set()
        for letter in self.letters:
            if not letter.event_id:
                continue  # of a record that never was an event
            parts = (letter.topic, letter.group, "dlq")
            dlq = ".".join(part for part in parts if part)
            written.add((dlq, letter.event_id))
            if letter.event_id not in self.told and letter.event_id not in self.sights:
                yield Violation(
                    kind=Kind.INVENTED,
                    subject=f"dead letter of {letter.topic}",
                    evidence=f"nobody published event {letter.event_id}",
                )
            if topics is not None and letter.event_id not in topics.get(dlq, ()):
                yield Violation(
                    kind=Kind.LETTER_NOT_ON_TOPIC,
                    subject=f"dead letter of {letter.event_id}",
                    evidence=dlq,
                )
        for dlq, event_ids in (topics or {}).items():
            for event_id in event_ids:
                if (dlq, event_id) not in written:
                    yield Violation(
                        kind=Kind.LETTER_MISSING, subject=f"event {event_id}", evidence=f"on {dlq}"
                    )

    def _reading(self, reading: Reading) -> Iterator[Violation]:
        times = Counter(reading.received)
        done: Counter[str] = Counter()
        for event_id, count in times.items():
            sight = self.sights.get(event_id)
            if sight is None or sight.event.topic not in reading.topics:
                yield Violation(
                    kind=Kind.INVENTED,
                    subject=f"event {event_id}",
                    evidence=f"{reading.group} received it, and no topic has it",
                )
                continue
            done[sight.event.key] += 1
            if count > 1:
                yield _violation(
                    Kind.EFFECT_DOUBLED, sight.event, f"{count} times in {reading.group}"
                )
        for event_id, sight in self.sights.items():
            event = sight.event
            is_read = event.topic in reading.topics and (
                not reading.types or event.type in reading.types
            )
            is_dead = (reading.group, event_id) in self.dead
            if not self.at_rest:
                continue
            if event_id in times and is_dead:
                yield _violation(
                    Kind.COUNTED_TWICE, event, f"received by {reading.group}, and a dead letter"
                )
            if is_read and not (event_id in times or is_dead or event_id in reading.waiting):
                yield _violation(Kind.EFFECT_MISSING, event, f"in {reading.group}")
        if reading.effects is not None:
            yield from _effects(reading, done, reading.effects)

    def _is_there(self, event: Event) -> bool:
        return bool(self._where(event.id))

    def _where(self, event_id: str) -> str:
        """Say in words where the event was met; nothing if nowhere."""
        places = []
        if event_id in self.sights:
            places.append(f"at {self.sights[event_id].place}")
        if self.rows is not None and event_id in self.rows:
            places.append(f"its row is {self.rows[event_id].state}")
        if ("", event_id) in self.dead:
            places.append("a dead letter")
        return ", ".join(places)


def _effects(
    reading: Reading, done: Counter[str], effects: Mapping[str, int]
) -> Iterator[Violation]:
    for key in sorted({*done, *effects}):
        received, counted = done[key], effects.get(key, 0)
        if received != counted:
            yield Violation(
                kind=Kind.EFFECT_DOUBLED if counted > received else Kind.EFFECT_MISSING,
                subject=f"key {key}",
                evidence=f"{reading.group} received {received}, with {counted} effects",
            )


def _compare(known: Event, met: Event, where: str) -> Iterator[Violation]:
    for name in ("topic", "key", "version", "type", "payload", "headers"):
        before, now = getattr(known, name), getattr(met, name)
        if before != now and before and now:
            yield _violation(Kind.DIFFERS, known, f"{name} is {now!r} in {where}, not {before!r}")


def _violation(kind: Kind, event: Event, evidence: str) -> Violation:
    return Violation(kind=kind, subject=_name(event), evidence=evidence)


def _name(event: Event) -> str:
    return f"{event.topic} {event.key} v{event.version} ({event.id})"
