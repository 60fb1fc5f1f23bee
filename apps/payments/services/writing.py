"""How a changed payment gets to the database and out as an event."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from apps.outbox import tracing
from apps.outbox.context import current_trace
from apps.outbox.events import Event
from apps.outbox.publish import publish
from apps.payments.events import AttemptFact, PaymentClosed
from apps.payments.models import Payment, PaymentAttempt

Fact = TypeVar("Fact", bound=AttemptFact)


class ConcurrentChange(Exception):
    """A row changed between its reading and its writing, which the transaction should prevent."""


def closed(payment: Payment) -> list[PaymentClosed]:
    payment.close()
    return [PaymentClosed(order_id=payment.order_id, version=payment.count_fact())]


def fact_of(
    kind: type[Fact],
    payment: Payment,
    attempt: PaymentAttempt,
    **more: Any,  # noqa: ANN401 - the further fields of that kind of fact
) -> Fact:
    return kind(
        order_id=payment.order_id,
        version=payment.count_fact(),
        payment_id=str(attempt.pk),
        attempt=attempt.attempt,
        buyer_id=attempt.buyer_id,
        amount_cents=attempt.amount_cents,
        currency=attempt.currency,
        provider_reference=attempt.intent_id or None,
        **more,
    )


def tell(payment: Payment, *facts: Event, cause: str = "") -> str:
    """Publish facts in the trace of the order that they are about.

    Args:
        payment: what they are about.
        facts: in the order of their versions.
        cause: the event that caused them, where no event is being handled: a buyer's request goes
            on with what an earlier one began.

    Returns:
        The id of the last event; empty if there was none.
    """
    now = current_trace()
    begun = replace(now, traceparent=payment.traceparent, causation_id=now.causation_id or cause)
    event_id = ""
    with tracing.resuming("continue order", begun, order_id=payment.order_id):
        for fact in facts:
            event_id = str(publish(fact))
    return event_id


def write_payment(payment: Payment, now: datetime) -> None:
    written = Payment.objects.filter(pk=payment.pk, revision=payment.revision).update(
        state=payment.state,
        closed_because=payment.closed_because,
        version=payment.version,
        revision=payment.revision + 1,
        attempts=payment.attempts,
        active_payment_id=payment.active_payment_id,
        paid_payment_id=payment.paid_payment_id,
        updated_at=now,
    )
    if written != 1:
        raise ConcurrentChange(payment.pk)
    payment.revision += 1


def write_attempt(attempt: PaymentAttempt, status: str) -> None:
    """Write an attempt back, provided that it still has the status that it was read with."""
    written = PaymentAttempt.objects.filter(pk=attempt.pk, status=status).update(
        status=attempt.status,
        amount_cents=attempt.amount_cents,
        currency=attempt.currency,
        failure_code=attempt.failure_code,
        failure_message=attempt.failure_message,
        promised_cents=attempt.promised_cents,
        refunded_cents=attempt.refunded_cents,
        disputed_cents=attempt.disputed_cents,
        refund_reason=attempt.refund_reason,
        decided_at=attempt.decided_at,
        refunded_at=attempt.refunded_at,
        settle_at=attempt.settle_at,
        settle_tries=attempt.settle_tries,
        refund_at=attempt.refund_at,
        refund_tries=attempt.refund_tries,
        last_error=attempt.last_error,
        causation_id=attempt.causation_id,
    )
    if written != 1:
        raise ConcurrentChange(attempt.pk)
