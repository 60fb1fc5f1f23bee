"""The timeline of an order: each event about it, once, in the transaction of what it changed."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
from django.utils import timezone

from apps.orders.models import Order, TimelineEntry, parse_order_id
from apps.orders.selectors import OrderNotFound, find_order_of_cause
from apps.outbox.context import Trace, trace_headers
from apps.outbox.inbox import current_message
from apps.outbox.inserting import insert
from apps.outbox.transactions import transactional

if TYPE_CHECKING:
    import uuid

    from apps.outbox.events import Event


def note_published(event_id: uuid.UUID, event: Event) -> None:
    """Note an event that orders publishes in this transaction."""
    now = timezone.now()
    headers = {"ce_id": str(event_id), "ce_type": event.type} | trace_headers()
    _note(_entry(event.aggregate_id, event, headers, occurred_at=now, noted_at=now))


@transactional
def note_received(*, event: Event, now: datetime) -> None:
    """Note the event that is being handled; one that is known by its id changes nothing.

    An event of a ticket belongs to the order whose event caused it, if any did.

    Raises:
        OrderNotFound: it names an order that never was.
    """
    message = current_message()
    headers = message.headers
    order_id: str | None = getattr(event, "order_id", None)
    if event.aggregate_type == "ticket":
        order_id = find_order_of_cause(event_id=headers.get("ce_causationid", ""))
        if order_id is None:
            return
    key = parse_order_id(order_id or "")
    if key is None or not Order.objects.filter(pk=key).exists():
        raise OrderNotFound
    entry = _entry(
        str(key), event, headers | {"ce_id": message.event_id}, _time_of(headers) or now, now
    )
    entry.place = f"{message.topic}/{message.partition}/{message.offset}"
    _note(entry)


def _entry(
    order_id: str, event: Event, headers: dict[str, str], occurred_at: datetime, noted_at: datetime
) -> TimelineEntry:
    return TimelineEntry(
        event_id=headers["ce_id"],
        order_id=order_id,
        type=event.type,
        version=event.version,
        occurred_at=occurred_at,
        noted_at=noted_at,
        correlation_id=headers.get("ce_correlationid", ""),
        causation_id=headers.get("ce_causationid", ""),
        trace_id=Trace(traceparent=headers.get("traceparent", "")).trace_id,
        headers=headers,
        facts=orjson.loads(orjson.dumps(_fields(event))),
    )


def _fields(event: Any) -> dict[str, Any]:  # noqa: ANN401 - any event's dataclass
    return {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}


def _note(entry: TimelineEntry) -> None:
    insert(entry, unless_there=True)


def _time_of(headers: dict[str, str]) -> datetime | None:
    """Return when the event occurred; None if nobody who can be understood says so."""
    try:
        instant = datetime.fromisoformat(headers.get("ce_time", ""))
    except ValueError:
        return None
    return instant if instant.tzinfo else None
