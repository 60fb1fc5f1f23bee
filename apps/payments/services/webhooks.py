"""What the provider tells of its own accord: stored first, then acted upon."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import IntegrityError

from apps.outbox.transactions import transactional
from apps.payments.gateway import Webhook
from apps.payments.models import PaymentAttempt, StripeEvent
from apps.payments.services.disputes import mirror_dispute
from apps.payments.services.refunding import notice_refund

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
        return False
    return True


@transactional
def process_webhook(*, event: StripeEvent, now: datetime) -> None:
    """Have the attempt, the refunds or the dispute that a webhook speaks of looked after at once.

    A webhook is a hint, not a proof: the settler asks the provider, and so it does not matter how
    old it is, in which order they come, or how often.
    """
    if event.type.startswith(DISPUTES):
        mirror_dispute(event, now)
    elif event.type.startswith(REFUNDS):
        notice_refund(event, now)
    else:
        _hasten_attempt(event, now)
    StripeEvent.objects.filter(pk=event.pk).update(
        state=StripeEvent.State.PROCESSED, processed_at=now
    )


def _hasten_attempt(event: StripeEvent, now: datetime) -> None:
    awaiting = {PaymentAttempt.Status.PENDING}
    if event.type == "payment_intent.succeeded":
        awaiting.add(PaymentAttempt.Status.FAILED)
    attempts = PaymentAttempt.objects.filter(status__in=awaiting)
    hint = {"settle_at": now, "settle_tries": 0}
    known = attempts.filter(intent_id=event.intent_id).update(**hint)
    if not known and (payment_id := _uuid(event.payment_id)):
        # The answer that held the intent's id was lost; the provider names our payment in it.
        attempts.filter(pk=payment_id, intent_id="").update(intent_id=event.intent_id, **hint)


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
