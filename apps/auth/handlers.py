"""Which mail each event asks for; runs in the transaction of the inbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.utils import timezone

from apps.auth.events import OrderCancelled, OrderCompleted, OrderCreated, PaymentRefunded
from apps.auth.mail import queueing


def on_order_created(event: OrderCreated) -> None:
    queueing.announce_reservation(order=event, now=timezone.now())


def on_order_completed(event: OrderCompleted) -> None:
    queueing.announce_payment(order=event, now=timezone.now())


def on_order_cancelled(event: OrderCancelled) -> None:
    queueing.announce_end(order=event, now=timezone.now())


def on_payment_refunded(event: PaymentRefunded) -> None:
    queueing.announce_refund(payment=event, now=timezone.now())


HANDLERS: dict[type, Callable[[Any], None]] = {
    OrderCreated: on_order_created,
    OrderCompleted: on_order_completed,
    OrderCancelled: on_order_cancelled,
    PaymentRefunded: on_payment_refunded,
}
