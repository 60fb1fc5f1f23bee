"""What the provider tells of its own accord: stored first, then acted upon."""

from __future__ import annotations

from datetime import datetime

from django.db import IntegrityError

from apps.outbox.context import Trace, traced
from apps.outbox.transactions import transactional
from apps.payments import selectors
from apps.payments.events import PaymentNotified
from apps.payments.gateway import Webhook
from apps.payments.metrics import BadInput, note_refused
from apps.payments.models import Payment, PaymentAttempt, StripeEvent
from apps.payments.services.disputes import mirror_dispute
from apps.payments.services.refunding import notice_refund
from apps.payments.services.writing import fact_of, tell, write_payment

TELLING = frozenset(
    {
        "payment_intent.succeeded",
        "payment_intent.payment_failed",
        "payment_intent.canceled",
    }
)
REFUNDS = ("refund.", "charge.refund")
DISPUTES = "charge.dispute."


def store_webhook(*, webhook: Webhook, now: datetime) -> bool:
    """Keep a webhook before anything is done about it; tell whether it is new."""
    is_known = webhook.type in TELLING or webhook.type.startswith((*REFUNDS, DISPUTES))
    is_telling = is_known and bool(webhook.intent_id)
    try:
        StripeEvent.objects.create(
            id=webhook.id,
            type=webhook.type,
            intent_id=webhook.intent_id,
            payment_id=webhook.payment_id,
            payload=webhook.payload,
            state=StripeEvent.State.STORED if is_telling else StripeEvent.State.IGNORED,
            created_at=webhook.created_at,
            received_at=now,
        )
    except IntegrityError:
        note_refused(BadInput.WEBHOOK_REPLAYED, webhook=webhook.id, type=webhook.type)
        return False
    if not is_telling:
        unknown = (
            BadInput.WEBHOOK_OF_UNKNOWN_PAYMENT if is_known else BadInput.WEBHOOK_OF_UNKNOWN_TYPE
        )
        note_refused(unknown, webhook=webhook.id, type=webhook.type)
    return True


@transactional
def process_webhook(*, event: StripeEvent, now: datetime) -> None:
    """Have the attempt, the refunds or the dispute that a webhook speaks of looked after at once.

    A webhook is a hint, not a proof: the settler asks the provider, and so it does not matter how
    old it is, in which order they come, or how often. Publishes PaymentNotified about one of ours.
    """
    if (attempt := _find_attempt(event)) is not None:
        cause = _tell(event, attempt, now)
        if event.type.startswith(DISPUTES):
            mirror_dispute(event, now, cause=cause)
        elif event.type.startswith(REFUNDS):
            notice_refund(event, now, cause=cause)
        else:
            _hasten_attempt(attempt, event, now, cause)
    StripeEvent.objects.filter(pk=event.pk).update(
        state=StripeEvent.State.PROCESSED, processed_at=now
    )


def _find_attempt(event: StripeEvent) -> PaymentAttempt | None:
    """Return the attempt that a webhook speaks of, unless it is none of ours, or not about it.

    An attempt that is pending may not know its intent yet; any other has its own, or never had one.
    """
    attempt = selectors.find_attempt_of_intent(intent_id=event.intent_id) or (
        selectors.find_attempt(payment_id=event.payment_id)
    )
    facts = {"webhook": event.pk, "type": event.type, "intent_id": event.intent_id}
    if attempt is None:
        note_refused(BadInput.WEBHOOK_OF_UNKNOWN_PAYMENT, **facts)
        return None
    is_its_own = attempt.intent_id == event.intent_id or (
        attempt.is_pending and not attempt.intent_id
    )
    if not is_its_own or event.payment_id not in {"", str(attempt.pk)}:
        note_refused(BadInput.INTENT_OF_ANOTHER_ORDER, payment_id=str(attempt.pk), **facts)
        return None
    return attempt


def _tell(event: StripeEvent, attempt: PaymentAttempt, now: datetime) -> str:
    """Publish that the provider told something of an attempt; return the event's id."""
    payment = Payment.objects.get(pk=attempt.order_id)
    fact = fact_of(
        PaymentNotified,
        payment,
        attempt,
        webhook_id=event.pk,
        webhook_type=event.type,
        webhook_created_at=event.created_at,
        received_at=event.received_at,
    )
    write_payment(payment, now)
    with traced(Trace(correlation_id=attempt.correlation_id)):
        return tell(payment, fact)


def _hasten_attempt(attempt: PaymentAttempt, event: StripeEvent, now: datetime, cause: str) -> None:
    awaiting = {PaymentAttempt.Status.PENDING}
    if event.type == "payment_intent.succeeded":
        awaiting.add(PaymentAttempt.Status.FAILED)
    # Where the answer that held the intent's id was lost, the settler finds it by its key.
    PaymentAttempt.objects.filter(pk=attempt.pk, status__in=awaiting).update(
        settle_at=now, settle_tries=0, causation_id=cause
    )
