"""What orders does with each event it reads; runs in the transaction of the inbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils import timezone

from apps.orders import selectors, services
from apps.orders.events import (
    ExpirationCompleted,
    PaymentClosed,
    PaymentFailed,
    PaymentRefunded,
    PaymentRefundFailed,
    PaymentRefundRequested,
    PaymentStarted,
    PaymentSucceeded,
    TicketCreated,
    TicketUpdated,
)
from apps.outbox.rebuilding import ReadModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from apps.orders.events import TicketState


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


def on_payment_refund_requested(event: PaymentRefundRequested) -> None:
    services.note_refund(payment=event)


def on_payment_refunded(event: PaymentRefunded) -> None:
    services.record_refund(payment=event, now=timezone.now())


def on_payment_refund_failed(event: PaymentRefundFailed) -> None:
    services.fail_refund(payment=event)


HANDLERS: dict[type, Callable[[Any], None]] = {
    TicketCreated: on_ticket_created,
    TicketUpdated: on_ticket_updated,
    ExpirationCompleted: on_expiration_completed,
    PaymentStarted: on_payment_started,
    PaymentSucceeded: on_payment_succeeded,
    PaymentFailed: on_payment_failed,
    PaymentClosed: on_payment_closed,
    PaymentRefundRequested: on_payment_refund_requested,
    PaymentRefunded: on_payment_refunded,
    PaymentRefundFailed: on_payment_refund_failed,
}


def project_ticket(row: Mapping[str, Any] | None, event: TicketState) -> Mapping[str, Any]:
    """Return the copy of a ticket after the event."""
    if row is not None and row["version"] >= event.version:
        return row
    return services.ticket_state(event)


TICKETS = ReadModel(
    events=(TicketCreated, TicketUpdated),
    project=project_ticket,
    live=selectors.list_ticket_copies,
    repair=lambda ticket_id, state: services.restore_ticket(ticket_id=ticket_id, state=state),
)
