"""How a changed order gets to the database and out as an event."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from apps.orders.events import OrderCancelled, OrderState
from apps.orders.models import Order, parse_order_id
from apps.orders.selectors import OrderNotFound
from apps.orders.services.noting import note_published
from apps.outbox import tracing
from apps.outbox.context import current_trace
from apps.outbox.publish import publish

if TYPE_CHECKING:
    from datetime import datetime


def lock_order(order_id: str) -> Order:
    key = parse_order_id(order_id)
    order = None if key is None else Order.objects.select_for_update().filter(pk=key).first()
    if order is None:
        raise OrderNotFound
    return order


def tell(order: Order, kind: type[OrderState], **more: Any) -> None:  # noqa: ANN401 - its further fields
    """Publish what became of the order, in its trace, and note it in its timeline."""
    begun = replace(current_trace(), traceparent=order.traceparent)
    with tracing.resuming("continue order", begun, order_id=str(order.pk)):
        event = kind(**state_of(order), **more)
        note_published(publish(event), event)


def cancel(order: Order, reason: Order.CancelReason, now: datetime) -> None:
    order.cancel(reason=reason, now=now)
    order.save()
    tell(order, OrderCancelled, reason=reason.value)


def cancel_paid(order: Order, reason: Order.CancelReason, now: datetime) -> None:
    order.cancel_paid(reason=reason, now=now)
    order.save()
    tell(order, OrderCancelled, reason=reason.value, payment_id=order.payment_id)


def state_of(order: Order) -> dict[str, Any]:
    """Return the fields that every event of an order carries."""
    return {
        "order_id": str(order.pk),
        "version": order.version,
        "status": str(order.status),
        "buyer_id": order.buyer_id,
        "ticket_id": order.ticket_id,
        "ticket_title": order.ticket_title,
        "ticket_version": order.ticket_version,
        "seller_id": order.seller_id,
        "price_cents": order.price_cents,
        "currency": order.currency,
        "expires_at": order.expires_at,
    }
