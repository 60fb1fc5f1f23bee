"""What orders does with each event it reads; runs in the transaction of the inbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils import timezone

from apps.orders import selectors, services
from apps.orders.events import (
    ExpirationCompleted,
    MailGivenUp,
    MailSent,
    PaymentActionRequired,
    PaymentClosed,
    PaymentDisputed,
    PaymentFailed,
    PaymentNotified,
    PaymentRefunded,
    PaymentRefundFailed,
    PaymentRefundRequested,
    PaymentStarted,
    PaymentSucceeded,
    PaymentUnsure,
    TicketCreated,
    TicketUpdated,
)
from apps.outbox.rebuilding import ReadModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from apps.orders.events import TicketState
    from apps.outbox.events import Event


def noted(handler: Callable[[Any], None]) -> Callable[[Any], None]:
    """Have the event noted in its order's timeline, and then handled."""

    def note_and_handle(event: Any) -> None:  # noqa: ANN401 (any event)
        services.note_received(event=event, now=timezone.now())
        handler(event)

    return note_and_handle


def on_news(event: Event) -> None:
    """Note what changes nothing about the order, for whoever wants to know what happened to it."""
    services.note_received(event=event, now=timezone.now())


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


def on_payment_disputed(event: PaymentDisputed) -> None:
    services.record_dispute(payment=event, now=timezone.now())


HANDLERS: dict[type, Callable[[Any], None]] = {
    TicketCreated: on_ticket_created,
    TicketUpdated: noted(on_ticket_updated),
    ExpirationCompleted: noted(on_expiration_completed),
    PaymentStarted: noted(on_payment_started),
    PaymentActionRequired: on_news,
    PaymentUnsure: on_news,
    PaymentNotified: on_news,
    PaymentSucceeded: noted(on_payment_succeeded),
    PaymentFailed: noted(on_payment_failed),
    PaymentClosed: noted(on_payment_closed),
    PaymentRefundRequested: noted(on_payment_refund_requested),
    PaymentRefunded: noted(on_payment_refunded),
    PaymentRefundFailed: noted(on_payment_refund_failed),
    PaymentDisputed: noted(on_payment_disputed),
    MailSent: on_news,
    MailGivenUp: on_news,
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
