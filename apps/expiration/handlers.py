"""What expiration does about the events it reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.utils import timezone

from apps.expiration import services
from apps.expiration.events import OrderCancelled, OrderCompleted, OrderCreated


def on_order_created(event: OrderCreated) -> None:
    services.set_deadline(order_id=event.order_id, expires_at=event.expires_at)


def on_order_cancelled(event: OrderCancelled) -> None:
    services.forget_deadline(
        order_id=event.order_id, expires_at=event.expires_at, now=timezone.now()
    )


def on_order_completed(event: OrderCompleted) -> None:
    services.forget_deadline(
        order_id=event.order_id, expires_at=event.expires_at, now=timezone.now()
    )


HANDLERS: dict[type, Callable[[Any], None]] = {
    OrderCreated: on_order_created,
    OrderCancelled: on_order_cancelled,
    OrderCompleted: on_order_completed,
}
