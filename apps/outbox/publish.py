"""Publishing: an event is committed with the data that it speaks of, or not at all."""

from __future__ import annotations

import dataclasses
import enum
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import uuid6
from django.db import connection
from django.utils import timezone

from . import tracing
from .conf import settings
from .events import Event, record_name
from .inserting import insert
from .models import OutboxEvent
from .schemas import DoesNotFit, local_schemas
from .slots import slot_of
from .transactions import require

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST_KEY = 255
# Kafka's brokers refuse records beyond 1 MiB by default; headers and framing need some of that.
LARGEST_EVENT = 900_000
# What wakes a relay on PostgreSQL; on MongoDB it watches the collection.
NOTIFY_CHANNEL = "outbox_event"


class InvalidEvent(Exception):
    """An event that does not fit its schema: a mistake in the code that publishes it."""


def publish(event: Event) -> uuid.UUID:
    """Insert the event into the outbox, in the open transaction, and return the event's id.

    The aggregate's version must have been raised in the same transaction: that makes the order in
    which transactions commit the order of the versions.

    Raises:
        TransactionRequired: no transaction is open.
        InvalidEvent: the event does not fit its Avro schema or is too large.
        IntegrityError: the aggregate has an event of that version already.
    """
    require()
    name = record_name(event)
    payload = _payload(event, name)
    now = _milliseconds(timezone.now())
    is_captured = settings.OUTBOX_TRANSPORT == "debezium"
    is_postgresql = connection.vendor == "postgresql"
    event_id = uuid6.uuid7()
    with tracing.creating(event.topic, event.aggregate_id, str(event_id)) as headers:
        row = OutboxEvent(
            id=event_id,
            topic=event.topic,
            key=event.aggregate_id,
            slot=slot_of(event.aggregate_id),
            aggregate_type=event.aggregate_type,
            aggregate_id=event.aggregate_id,
            version=event.version,
            type=event.type,
            record=name,
            payload=payload,
            headers=orjson.dumps(headers).decode(),
            occurred_at=now,
            due_at=now,
            state=OutboxEvent.State.CAPTURED if is_captured else OutboxEvent.State.PENDING,
        )
        if is_postgresql:
            insert(row)
        else:
            row.save(force_insert=True)
    if is_postgresql and not is_captured:
        # PostgreSQL sends one notification for all the same ones of a transaction.
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, '')", [NOTIFY_CHANNEL])
    return event_id


def _payload(event: Event, name: str) -> bytes:
    schema = local_schemas().get(name)
    if schema is None:
        raise InvalidEvent(f"{name} has no schema. Add its .avsc to {settings.AVRO_DIR}.")
    if not 0 < len(event.aggregate_id) <= LONGEST_KEY:
        raise InvalidEvent(f"{name}: an aggregate's id has 1 to {LONGEST_KEY} characters.")
    if event.version < 1:
        raise InvalidEvent(f"{name}: versions begin with 1, and this is {event.version}.")
    fields = {field.name: plain(getattr(event, field.name)) for field in dataclasses.fields(event)}
    try:
        body = schema.encode(fields)
    except DoesNotFit as exc:
        raise InvalidEvent(f"{name} does not fit {schema.path.name}: {exc}") from exc
    if len(body) > LARGEST_EVENT:
        raise InvalidEvent(f"{name} has {len(body):,} bytes; at most {LARGEST_EVENT:,} are sent.")
    return orjson.dumps(fields)


def plain(value: Any) -> Any:  # noqa: ANN401 (any field of any event)
    """Turn a field's value into what JSON holds and Avro takes: instants become milliseconds.

    Raises:
        InvalidEvent: there is no such form, or an instant has no time zone.
    """
    plain_value: Any
    match value:
        case enum.Enum():  # first: a TextChoices is a str, too
            plain_value = plain(value.value)
        case None | bool() | int() | float() | str():
            plain_value = value
        case datetime():
            if value.tzinfo is None:
                raise InvalidEvent(f"{value.isoformat()} has no time zone; instants are in UTC.")
            plain_value = (value - EPOCH) // timedelta(milliseconds=1)
        case uuid.UUID():
            plain_value = str(value)
        case list() | tuple():
            plain_value = [plain(item) for item in value]
        case dict():
            plain_value = {name: plain(item) for name, item in value.items()}
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            plain_value = plain({f.name: getattr(value, f.name) for f in dataclasses.fields(value)})
        case _:
            raise InvalidEvent(f"A {type(value).__name__} has no form in an event: {value!r}.")
    return plain_value


def _milliseconds(instant: datetime) -> datetime:
    """Cut to what both stores keep, so that a record is the same whichever way it goes."""
    return instant.astimezone(UTC).replace(microsecond=instant.microsecond // 1000 * 1000)
