"""What orders does with each event it reads; runs in the transaction of the inbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils import timezone

from apps.orders import services
from apps.orders.events import (
    ExpirationCompleted,
    PaymentClosed,
    PaymentFailed,
    PaymentRefunded,
    PaymentStarted,
    PaymentSucceeded,
    TicketCreated,
    TicketUpdated,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def on_ticket_created(event: TicketCreated) -> None:
    services.record_ticket(ticket=event)


def on_ticket_updated(event: TicketUpdated) -> None:
    services.record_ticket(ticket=event)


def on_expiration_completed(event: ExpirationCompleted) -> None:
    services.expire_order(order_id=event.order_id, now=timezone.now())


def on_payment_started(event: PaymentStarted) -> None:
    services.start_payment(payment=event)


def on_payment_succeeded(event: PaymentSucceeded) -> None:
    services.record_payment(payment=event, now=timezone.now())


def on_payment_failed(event: PaymentFailed) -> None:
    services.fail_payment(payment=event)


def on_payment_closed(event: PaymentClosed) -> None:
    services.close_order(payment=event, now=timezone.now())


def on_payment_refunded(event: PaymentRefunded) -> None:
    services.record_refund(payment=event)


HANDLERS: dict[type, Callable[[Any], None]] = {
    TicketCreated: on_ticket_created,
    TicketUpdated: on_ticket_updated,
    ExpirationCompleted: on_expiration_completed,
    PaymentStarted: on_payment_started,
    PaymentSucceeded: on_payment_succeeded,
    PaymentFailed: on_payment_failed,
    PaymentClosed: on_payment_closed,
    PaymentRefunded: on_payment_refunded,
}
