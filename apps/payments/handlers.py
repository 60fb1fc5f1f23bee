"""What payments does with each event it reads; runs in the transaction of the inbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.utils import timezone

from apps.payments import services
from apps.payments.events import OrderCancelled, OrderCreated, OrderExpired, OrderRefundRequested
from apps.payments.models import Payment, Refund


def on_order_created(event: OrderCreated) -> None:
    services.record_order(order=event, now=timezone.now())


def on_order_expired(event: OrderExpired) -> None:
    services.close_payment(order=event, reason=Payment.Reason.EXPIRED, now=timezone.now())


def on_order_cancelled(event: OrderCancelled) -> None:
    services.close_payment(order=event, reason=Payment.Reason.CANCELLED, now=timezone.now())


def on_order_refund_requested(event: OrderRefundRequested) -> None:
    services.request_refund(
        payment_id=event.payment_id,
        reason=event.reason,
        requested_by=event.requested_by or Refund.SYSTEM,
        refund_id=event.refund_id,
        now=timezone.now(),
    )


HANDLERS: dict[type, Callable[[Any], None]] = {
    OrderCreated: on_order_created,
    OrderExpired: on_order_expired,
    OrderCancelled: on_order_cancelled,
    OrderRefundRequested: on_order_refund_requested,
}
"""By state, not by version: each of these must take effect also when it arrives late, replayed
from the dead letters, and none changes anything twice."""
