from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import uuid6

from apps.payments import services
from apps.payments.events import (
    OrderCancelled,
    OrderCreated,
    OrderExpired,
    OrderRefundRequested,
)
from apps.payments.models import Payment

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
BUYER = "buyer-1"


def order_fields(**changes: Any) -> dict[str, Any]:
    return {
        "order_id": str(uuid6.uuid7()),
        "version": 1,
        "buyer_id": BUYER,
        "ticket_id": "ticket-1",
        "ticket_title": "Front row, Saturday",
        "price_cents": 1250,
        "currency": "usd",
        "expires_at": NOW + timedelta(minutes=15),
        **changes,
    }


def order_created(**changes: Any) -> OrderCreated:
    return OrderCreated(**order_fields(**changes))


def order_expired(order: OrderCreated, **changes: Any) -> OrderExpired:
    return OrderExpired(**(vars(order) | {"version": order.version + 1} | changes))


def order_cancelled(order: OrderCreated, **changes: Any) -> OrderCancelled:
    fields = vars(order) | {"version": order.version + 1, "reason": "buyer"} | changes
    return OrderCancelled(**fields)


def refund_requested(order: OrderCreated, payment_id: str, **changes: Any) -> OrderRefundRequested:
    fields = vars(order) | {
        "version": order.version + 2,
        "payment_id": payment_id,
        "reason": "The ticket was sold meanwhile.",
    }
    return OrderRefundRequested(**(fields | changes))


def make_order(now: datetime = NOW, **changes: Any) -> OrderCreated:
    """An order that payments has heard of and that may be paid."""
    changes.setdefault("expires_at", now + timedelta(minutes=15))
    order = order_created(**changes)
    services.record_order(order=order, now=now)
    return order


def payment_of(order: OrderCreated) -> Payment:
    return Payment.objects.get(pk=order.order_id)
