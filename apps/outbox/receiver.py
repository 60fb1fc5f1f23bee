"""What happens to a record: it is read, and takes effect once, alone or with others."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Any, Protocol

from . import tracing
from .dead_letters import EVENT_ID, NAMESPACE, Record
from .events import Event, record_name
from .failures import Poison, is_outage
from .inbox import (
    Apart,
    Handler,
    Message,
    Read,
    Together,
    Work,
    process_once,
    process_together,
)
from .topics import retry_topic, tier_pattern

LONGEST_EVENT_ID = 64
LONGEST_KEY = 255

Handlers = Mapping[type[Event], Handler]


class Outcome(StrEnum):
    PROCESSED = "processed"
    DUPLICATE = "duplicate"
    SKIPPED = "skipped"
    RETRIED = "retried"
    PARKED = "parked"
    DEAD = "dead"


class Decoder(Protocol):
    """Reads Confluent's wire format by the schema that the record was written with."""

    def decode(self, value: bytes) -> tuple[str, dict[str, Any]]:
        """Return the full name of the Avro record, and its fields.

        Raises:
            Poison: the bytes can never be read.
        """
        ...


class Receiver:
    """Reads records for one consumer group.

    Args:
        group: the consumer group.
        handlers: which function each event is handed to, in the inbox's transaction.
        decoder: reads the values.
    """

    def __init__(self, group: str, handlers: Handlers, decoder: Decoder) -> None:
        self._group = group
        self._decoder = decoder
        self._handlers = {record_name(cls): (cls, handler) for cls, handler in handlers.items()}
        self._namespaces: dict[str, set[str]] = {}
        self._sources = sorted({cls.topic for cls in handlers})
        for cls in handlers:
            for topic in (cls.topic, retry_topic(cls.topic, group)):
                self._namespaces.setdefault(topic, set()).add(cls.namespace)

    @property
    def topics(self) -> list[str]:
        """What to subscribe to: the topics of the handlers' events, and the group's retries."""
        tiers = [tier_pattern(topic, self._group) for topic in self._sources]
        return sorted(self._namespaces) + tiers

    def receive(self, record: Record, also: Callable[[], object] = lambda: None) -> Outcome:
        """Let the record take effect, unless it has before or nobody here reads its type.

        Args:
            record: as it was on the topic that it first came from.
            also: what else is to be written, in the transaction of the effect if there is one.

        Raises:
            Poison: the record can never be handled.
            Exception: whatever the handler raises.
        """
        read = self._read(record)
        has_run = read is not None and process_once(read.message, read.handler, also)
        if not has_run:
            also()
        return _outcome(read, has_run)

    def receive_all(
        self, records: Sequence[Record], also: Callable[[int], object] = lambda _: None
    ) -> list[Outcome]:
        """Let the first of the records take effect, in their order and in one transaction.

        Args:
            records: one or more.
            also: what else belongs to the transaction, given how many of the records are in it.

        Returns:
            What became of the first records: as many as take effect together, and at least one.

        Raises:
            Poison: the first record can never be handled.
            Exception: whatever the first record's handler raises. Nothing has happened then.
        """
        reads = self._read_first(records)
        pairs = list(zip(reads, records, strict=False))

        def around(messages: list[Message]) -> AbstractContextManager[None]:
            known = {read.message.inbox_id: record for read, record in pairs if read is not None}
            handled = [known[message.inbox_id] for message in messages]
            return tracing.processing_together(handled, self._group, messages[-1].event_id)

        while len(reads) > 1:
            try:
                ran = process_together(reads, also, around)
            except Apart as exc:
                apart = exc
            else:
                return [_outcome(read, has_run) for read, has_run in zip(reads, ran, strict=False)]
            if apart.cause is not None and (apart.at == 0 or is_outage(apart.cause)):
                raise apart.cause
            # Those before the one that failed took no effect only because of it.
            reads = reads[: apart.at or 1]
        return [self.receive(records[0], lambda: also(1))]

    def _read_first(self, records: Sequence[Record]) -> list[Read]:
        """Read the records up to one that cannot be read; its own turn will come."""
        reads: list[Read] = []
        for record in records:
            try:
                reads.append(self._read(record))
            except Exception:
                if not reads:
                    raise
                break
        return reads

    def _read(self, record: Record) -> Read:
        """Return the record's message and its handler, or None if nobody here reads its type."""
        if record.headers_fault:
            raise Poison("bad_headers", f"A header's name: {record.headers_fault}.")
        if not record.value:
            raise Poison("empty", "The record has no value; no event is deleted by a tombstone.")
        name, fields = self._decoder.decode(record.value)
        if name not in self._handlers:
            self._refuse_strangers(name, record.topic)
            return None
        event_class, handler = self._handlers[name]
        message = Message(
            group=self._group,
            event_id=event_id(record),
            topic=record.topic,
            partition=record.partition or 0,
            offset=record.offset or 0,
            key=_text(record.key),
            event=build(event_class, fields),
            raw_headers=record.headers,
        )

        def handle(event: Any) -> None:  # noqa: ANN401 (any event)
            with tracing.processing(record, self._group, message.event_id):
                handler(event)

        return Work(message, handle, handler if isinstance(handler, Together) else None)

    def _refuse_strangers(self, name: str, topic: str) -> None:
        """A topic belongs to one service, whose new types we skip; others' records are mistakes."""
        namespaces = self._namespaces.get(topic, set())
        if name.rpartition(".")[0] not in namespaces:
            raise Poison(
                "wrong_schema",
                f"{name} does not belong on {topic}, which holds {', '.join(sorted(namespaces))}.",
            )


def event_id(record: Record) -> str:
    """Return the event's id, by which the inbox knows it.

    A record that was sent without one is known by its place instead. A replay carries that id
    along, so that it too takes effect once; the same event sent twice by its producer does not.

    Raises:
        Poison: there is an id, and it is none that anybody could have meant.
    """
    if all(name != EVENT_ID for name, _ in record.headers):
        return str(uuid.uuid5(NAMESPACE, f"{record.topic}/{record.partition}/{record.offset}"))
    given = record.header(EVENT_ID) or ""
    if not given or len(given) > LONGEST_EVENT_ID or not given.isprintable():
        raise Poison("bad_headers", f"ce_id is {given[:80]!r}, and has 1 to 64 characters.")
    return given


def known_event_id(record: Record) -> str:
    """Return the event's id, or nothing where that is what is wrong with the record."""
    try:
        return event_id(record)
    except Poison:
        return ""


def build(event_class: type[Event], fields: dict[str, Any]) -> Event:
    """Make the event of its record's fields; the record may have more than the reader declares.

    Raises:
        Poison: a field is missing for which the reader has no default.
    """
    wanted = {
        field.name: fields[field.name]
        for field in dataclasses.fields(event_class)
        if field.name in fields
    }
    try:
        return event_class(**wanted)
    except TypeError as exc:
        raise Poison("wrong_schema", f"{record_name(event_class)}: {exc}") from exc


def _outcome(read: Read, has_run: bool) -> Outcome:  # noqa: FBT001 (a fact, no option)
    if read is None:
        return Outcome.SKIPPED
    return Outcome.PROCESSED if has_run else Outcome.DUPLICATE


def _text(key: bytes | None) -> str:
    """Return the key for a person to read; the inbox goes by the event's id."""
    return (key or b"").decode("utf-8", "replace").replace("\x00", "")[:LONGEST_KEY]
