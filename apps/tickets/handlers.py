"""What tickets does about the events of orders. Each runs in the inbox's transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.utils import timezone

from apps.tickets import services
from apps.tickets.events import OrderCancelled, OrderCompleted, OrderCreated


def on_order_created(event: OrderCreated) -> None:
    services.reserve_ticket(ticket_id=event.ticket_id, order_id=event.order_id, now=timezone.now())


def on_order_completed(event: OrderCompleted) -> None:
    services.sell_ticket(ticket_id=event.ticket_id, order_id=event.order_id, now=timezone.now())


def on_order_cancelled(event: OrderCancelled) -> None:
    end = services.take_ticket_back if event.payment_id else services.release_ticket
    end(ticket_id=event.ticket_id, order_id=event.order_id, now=timezone.now())


HANDLERS: dict[type, Callable[[Any], None]] = {
    OrderCreated: on_order_created,
    OrderCompleted: on_order_completed,
    OrderCancelled: on_order_cancelled,
}
