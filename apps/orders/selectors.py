from __future__ import annotations

import heapq
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING

from django.conf import settings

from apps.core.errors import NotFound, NotSignedIn
from apps.orders.models import Order, Refund, TicketCopy, TimelineEntry, parse_order_id
from apps.outbox.models import DeadLetter, OutboxEvent, ParkedRecord

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from typing import Any

    from django.db.models import QuerySet

    from apps.core.passes import Pass


class OrderNotFound(NotFound):
    code = "order_not_found"


def get_order(*, order_id: str, buyer_id: str) -> Order:
    """Return the buyer's order.

    Raises:
        OrderNotFound: there is none, or the id is malformed.
        NotSignedIn: it is another's. This comes before anything that depends on its status.
    """
    key = parse_order_id(order_id)
    order = None if key is None else Order.objects.filter(pk=key).first()
    if order is None:
        raise OrderNotFound
    if order.buyer_id != buyer_id:
        raise NotSignedIn
    return order


def find_order_of_pass(*, claims: Pass) -> Order | None:
    """Return the order that a pass was made for."""
    key = parse_order_id(claims.order_id)
    if key is None:
        return None
    return Order.objects.filter(
        pk=key, ticket_id=claims.ticket_id, buyer_id=claims.buyer_id
    ).first()


def list_orders(*, buyer_id: str) -> QuerySet[Order]:
    """Return the buyer's orders, oldest first."""
    return Order.objects.filter(buyer_id=buyer_id).order_by("created_at", "id")


def list_newest_orders(*, buyer_id: str) -> QuerySet[Order]:
    """Return the buyer's orders, newest first, with their refunds."""
    orders = Order.objects.filter(buyer_id=buyer_id).order_by("-created_at", "-id")
    return orders.prefetch_related("refunds")


def find_returnable_until(*, order: Order, now: datetime) -> datetime | None:
    """Tell until when the buyer may still give a paid ticket back; None if not any more."""
    within = timedelta(seconds=settings.PAID_ORDER_CANCELLATION_SECONDS)
    until = order.returnable_until(within)
    return until if until is not None and now < until else None


def list_refunds(*, order: Order) -> list[Refund]:
    """Return what went, or is going, back to the buyer."""
    return list(order.refunds.all())


def find_order_of_cause(*, event_id: str) -> str | None:
    """Return the order whose timeline has the event; None if none has."""
    if not event_id:
        return None
    entries = TimelineEntry.objects.filter(pk=event_id)
    key = entries.values_list("order_id", flat=True).first()
    return None if key is None else str(key)


def list_timeline(*, order: Order) -> list[TimelineEntry]:
    """Return what happened to an order: each event after the one that caused it, else by time.

    Clocks of services differ, so an effect may have an earlier time than its cause. Causes that
    are not in the timeline count for nothing, and neither do those that are their own effects.
    """
    entries = {entry.event_id: entry for entry in order.timeline.all()}
    effects: dict[str, list[TimelineEntry]] = {}
    places = count()
    ready: list[tuple[datetime, int, int, TimelineEntry]] = []

    def let_follow(entry: TimelineEntry) -> None:
        heapq.heappush(ready, (entry.occurred_at, entry.version, next(places), entry))

    for entry in entries.values():
        if entry.causation_id in entries and entry.causation_id != entry.event_id:
            effects.setdefault(entry.causation_id, []).append(entry)
        else:
            let_follow(entry)
    timeline = []
    while ready:
        *_, entry = heapq.heappop(ready)
        timeline.append(entry)
        for effect in effects.pop(entry.event_id, ()):
            let_follow(effect)
    in_circles = [entry for circle in effects.values() for entry in circle]
    return timeline + sorted(in_circles, key=lambda entry: entry.occurred_at)


def list_outbox_rows(*, order: Order) -> dict[str, OutboxEvent]:
    """Return the rows of what was published of an order and not pruned yet, by event id."""
    rows = OutboxEvent.objects.filter(aggregate_type="order", aggregate_id=str(order.pk))
    return {str(row.pk): row for row in rows}


def list_dead_letters(*, order: Order) -> list[DeadLetter]:
    """Return what was to be handled of an order and could not be, whatever was decided since."""
    letters = DeadLetter.objects.filter(key=str(order.pk).encode())
    return list(letters.order_by("first_failed_at"))


def list_parked(*, order: Order) -> list[ParkedRecord]:
    """Return what waits to be handled again, or behind what does."""
    return list(ParkedRecord.objects.filter(key=str(order.pk).encode()).order_by("parked_at"))


def list_ticket_copies() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what orders knows of each ticket, by the ticket's id."""
    for copy in TicketCopy.objects.values().iterator():
        yield copy["ticket_id"], {name: of for name, of in copy.items() if name != "ticket_id"}
