"""What orders says: there is something to pay, there is nothing to pay any more."""

from __future__ import annotations

from datetime import datetime

import structlog

from apps.outbox.context import current_trace
from apps.outbox.transactions import transactional
from apps.payments import selectors
from apps.payments.events import OrderFact
from apps.payments.models import Payment, PaymentAttempt
from apps.payments.services.paying import hasten
from apps.payments.services.writing import closed, tell, write_payment

log = structlog.get_logger(__name__)


@transactional
def record_order(*, order: OrderFact, now: datetime) -> Payment:
    """Note what is to be paid for an order. An order that is known stays as it was noted."""
    known = selectors.find_payment(order_id=order.order_id)
    return known or Payment.objects.create(
        order_id=order.order_id,
        buyer_id=order.buyer_id,
        ticket_id=order.ticket_id,
        ticket_title=order.ticket_title,
        amount_cents=order.price_cents,
        currency=order.currency,
        expires_at=order.expires_at,
        traceparent=current_trace().traceparent,
        created_at=now,
        updated_at=now,
    )


@transactional
def close_payment(*, order: OrderFact, reason: Payment.Reason, now: datetime) -> None:
    """Let nothing more be paid for an order that expired or was cancelled.

    With no attempt open this publishes PaymentClosed. With one open, the settler first makes sure
    at the provider that it cannot succeed, or finds it paid. A payment that is ending or paid
    already is left alone: its own facts tell orders. An order that payments has not heard of (its
    first event may lie among the dead letters) is noted as closed, so that its hold can end.
    """
    payment = record_order(order=order, now=now)
    if payment.state != Payment.State.OPEN:
        log.info("payment is not open", order_id=order.order_id, state=payment.state)
        return
    payment.stop(reason)
    facts = [] if payment.active_payment_id else closed(payment)
    write_payment(payment, now)
    tell(payment, *facts)
    if payment.active_payment_id:
        active = PaymentAttempt.objects.filter(pk=payment.active_payment_id)
        hasten(active, now, causation_id=current_trace().causation_id)
