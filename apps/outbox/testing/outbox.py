"""An outbox in a test: what was published is looked at, and events are handed to handlers.

The rows and the inbox are real, in the test's database; Kafka and the registry are not needed.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from django.utils import timezone
from django.utils.module_loading import import_string

from ..codec import MAGIC, PREFIX, Codec
from ..conf import settings
from ..dead_letters import NAMESPACE, Record
from ..events import Event, record_name
from ..inbox import Handler
from ..models import OutboxEvent
from ..publish import plain
from ..receiver import Outcome, Receiver, build
from ..records import Row, build_record
from ..schemas import local_schemas
from .doubles import FakeRegistry

E = TypeVar("E", bound=Event)

State = OutboxEvent.State
MOST_EVENTS = 1000
EMPTY: dict[Any, Any] = {
    "null": None,
    "boolean": False,
    "string": "",
    "bytes": b"",
    "array": [],
    "map": {},
}


class Outbox:
    """What the test publishes from now on, and what its handlers make of events.

    Args:
        handlers: the table of handlers; by default the one that settings.EVENT_HANDLERS names.
        group: the consumer group.
    """

    def __init__(
        self, handlers: Mapping[Any, Handler] | None = None, group: str | None = None
    ) -> None:
        self.registry = FakeRegistry()
        self.codec = Codec(self.registry)
        self._handlers = handlers
        self._group = group
        self._before = set(OutboxEvent.objects.values_list("pk", flat=True))
        self._pumped: set[uuid.UUID] = set()

    def published(self, event_class: type[E], **fields: Any) -> list[E]:  # noqa: ANN401
        """Return the committed events of the class, in order, that have these fields."""
        wanted = {name: plain(value) for name, value in fields.items()}
        events = [
            self._event(event_class, row)
            for row in self._rows()
            if row.record == record_name(event_class)
        ]
        return [
            event
            for event in events
            if all(plain(getattr(event, name)) == value for name, value in wanted.items())
        ]

    def assert_published(self, event_class: type[E], **fields: Any) -> E:  # noqa: ANN401
        """Return the one committed event of the class that has these fields.

        Raises:
            AssertionError: there is none, or there are several; it says what was published.
        """
        found = self.published(event_class, **fields)
        if len(found) != 1:
            wanted = ", ".join(f"{name}={value!r}" for name, value in fields.items())
            raise AssertionError(
                f"{len(found)} events {event_class.__name__}({wanted}) were published, not one."
                f"{self._listing()}"
            )
        return found[0]

    def assert_nothing_published(self) -> None:
        """Make sure that no event was committed.

        Raises:
            AssertionError: it says which ones were.
        """
        if next(self._rows(), None) is not None:
            raise AssertionError(f"Something was published.{self._listing()}")

    def deliver(
        self,
        event: Event,
        *,
        headers: Mapping[str, str] | None = None,
        **unread: Any,  # noqa: ANN401
    ) -> Outcome:
        """Hand the event to its handler as the consumer would: through Avro and the inbox.

        The same event a second time is a duplicate, since its id is made of its key and version.

        Args:
            event: of a class in the table of handlers.
            headers: of the record, beside ce_id, or ce_id itself.
            unread: fields of the record that the reader's class leaves out; the others of them
                take the schema's default, or else an empty value.

        Raises:
            Poison: the record could never be handled: it would be a dead letter at once.
            Exception: what the handler raises; the consumer would try again.
        """
        name = record_name(event)
        place = f"{name}/{event.aggregate_id}/{event.version}"
        known = {"ce_id": str(uuid.uuid5(NAMESPACE, place)), "ce_sequence": str(event.version)}
        return self._receive(
            Record(
                topic=event.topic,
                key=event.aggregate_id.encode(),
                value=_encode(self.registry, event, unread),
                headers=tuple(
                    (name, value.encode()) for name, value in (known | dict(headers or {})).items()
                ),
                partition=0,
                offset=0,
            )
        )

    def deliver_published(self) -> int:
        """Hand what was published to this service's own handlers, and what they publish in turn.

        Each event takes the way of the relay and the consumer, and its row is marked as published.

        Returns:
            How many events had an effect.

        Raises:
            AssertionError: the handlers feed each other without an end.
        """
        effects = 0
        while waiting := [row for row in self._rows() if row.pk not in self._pumped]:
            for row in waiting:
                self._pumped.add(row.pk)
                if len(self._pumped) > MOST_EVENTS:
                    raise AssertionError(f"More than {MOST_EVENTS} events.{self._listing(10)}")
                record = build_record(_row(row), self.codec)
                OutboxEvent.objects.filter(pk=row.pk).update(
                    state=State.PUBLISHED, published_at=timezone.now()
                )
                if self._reads(row):
                    located = record._replace(partition=0, offset=len(self._pumped))
                    effects += self._receive(located) is Outcome.PROCESSED
        return effects

    def _receive(self, record: Record) -> Outcome:
        return Receiver(self._own_group(), self._table(), self.codec).receive(record)

    def _own_group(self) -> str:
        group: str = self._group or settings.CONSUMER_GROUP
        return group

    def _table(self) -> Mapping[Any, Handler]:
        if self._handlers is not None:
            return self._handlers
        table: Mapping[Any, Handler] = import_string(settings.EVENT_HANDLERS)
        return table

    def _reads(self, row: OutboxEvent) -> bool:
        if self._handlers is None and not settings.EVENT_HANDLERS:
            return False
        return row.record in {record_name(event_class) for event_class in self._table()}

    def _rows(self) -> Iterator[OutboxEvent]:
        """Yield the rows of this test in the order in which they were published."""
        for row in OutboxEvent.objects.order_by("pk"):
            if row.pk not in self._before:
                yield row

    def _event(self, event_class: type[E], row: OutboxEvent) -> E:
        record = build_record(_row(row), self.codec)
        _, fields = self.codec.decode(record.value or b"")
        event: Any = build(event_class, fields)
        read: E = event
        return read

    def _listing(self, most: int = 50) -> str:
        lines = [
            f"\n  {row.record} {bytes(row.payload).decode('utf-8', 'replace')}"
            for row in self._rows()
        ]
        return " Published:" + ("".join(lines[:most]) or " nothing.")


def _row(model: OutboxEvent) -> Row:
    return Row(
        event_id=model.pk,
        topic=model.topic,
        key=model.key,
        version=model.version,
        type=model.type,
        record=model.record,
        payload=bytes(model.payload),
        headers=model.headers,
        occurred_at=model.occurred_at,
        aggregate_id=model.aggregate_id,
    )


def _encode(registry: FakeRegistry, event: Event, unread: Mapping[str, Any]) -> bytes:
    """Write the event as its owner would, of whom a reader may know a part only."""
    schema = local_schemas()[record_name(event)]
    given = {each.name: plain(getattr(event, each.name)) for each in dataclasses.fields(event)}
    given |= {name: plain(value) for name, value in unread.items()}
    rest = {
        field["name"]: field.get("default", _nothing(field["type"]))
        for field in schema.parsed["fields"]
        if field["name"] not in given
    }
    prefix = PREFIX.pack(MAGIC, registry.schema_id(event.topic, schema))
    return prefix + schema.encode(rest | given)


def _nothing(kind: Any) -> Any:  # noqa: ANN401 (any Avro type)
    """Return the emptiest value of an Avro type."""
    match kind:
        case list():
            return _nothing(kind[0])
        case {"type": "record", "fields": fields}:
            return {field["name"]: _nothing(field["type"]) for field in fields}
        case {"type": "enum", "symbols": symbols}:
            return symbols[0]
        case {"type": "fixed", "size": size}:
            return bytes(size)
        case {"type": inner}:
            return _nothing(inner)
    return EMPTY.get(kind, 0)
