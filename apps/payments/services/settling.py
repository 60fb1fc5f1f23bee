"""Attempts whose end nobody wrote down: the provider is asked."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NoReturn

import structlog
from django.db.models import F
from django.utils import timezone

from apps.outbox import tracing
from apps.outbox.transactions import transactional
from apps.payments import selectors
from apps.payments.gateway import Gateway, ProviderRefused, ProviderUnsure
from apps.payments.metrics import BadInput, note_refused
from apps.payments.models import Payment, PaymentAttempt
from apps.payments.services.paying import (
    GIVEN_UP,
    Clock,
    announce,
    await_buyer,
    fail_attempt,
    record_outcome,
)

LONGEST_PAUSE_SECONDS = 60

log = structlog.get_logger(__name__)


def settle_attempt(
    *, attempt: PaymentAttempt, gateway: Gateway, clock: Clock = timezone.now
) -> None:
    """Bring an attempt to its end by asking the provider, or push its next try back.

    Whoever takes an attempt moves its time first, by a conditional update: two settlers do not
    meet over it, and one that dies leaves it to be taken again.
    """
    now = clock()
    pause = min(LONGEST_PAUSE_SECONDS, 2**attempt.settle_tries)
    taken = PaymentAttempt.objects.filter(pk=attempt.pk, settle_at=attempt.settle_at).update(
        settle_at=now + timedelta(seconds=pause), settle_tries=F("settle_tries") + 1
    )
    if not taken:
        return  # another settler was quicker, or the outcome is known by now
    try:
        with tracing.resuming("settle payment", attempt.trace, order_id=attempt.order_id):
            _ask(attempt, gateway, clock)
    except (ProviderUnsure, ProviderRefused) as exc:
        is_refusal = isinstance(exc, ProviderRefused)
        (log.error if is_refusal else log.warning)(
            "the attempt is not settled yet", payment_id=str(attempt.pk), why=str(exc)
        )
        PaymentAttempt.objects.filter(pk=attempt.pk).update(last_error=str(exc))


def _ask(attempt: PaymentAttempt, gateway: Gateway, clock: Clock) -> None:
    payment_id = str(attempt.pk)
    if attempt.is_pending and not attempt.intent_id:
        try:
            # The same key finds the intent whose id was lost, so that it can be cancelled.
            attempt = announce(attempt, gateway)
        except (ProviderUnsure, ProviderRefused) as exc:
            # Nothing is confirmed before its id is remembered, and a failed attempt remembers
            # none: no money moved, and none will.
            if not _give_up_unannounced(payment_id, clock()):
                raise  # the request that began it goes on, and has an intent by now
            log.info("given up before it began", payment_id=payment_id, why=str(exc))
            return
    intent = gateway.retrieve_intent(intent_id=attempt.intent_id)
    if intent.payment_id != payment_id:
        _refuse_intent(attempt)
    if attempt.is_pending and intent.action_url and _may_wait(attempt, clock()):
        attempt.settle_tries += 1  # by which it was taken
        await_buyer(attempt, intent, clock())
        return
    if attempt.is_pending and not (intent.is_decided or intent.is_under_way):
        intent = gateway.cancel_intent(intent_id=attempt.intent_id)
    attempt = record_outcome(payment_id=payment_id, intent=intent, now=clock())
    if not attempt.is_pending:
        PaymentAttempt.objects.filter(pk=payment_id, status=attempt.status).update(settle_at=None)


def _refuse_intent(attempt: PaymentAttempt) -> NoReturn:
    """Take nothing from an intent that was made for another attempt: a person must look."""
    refused = attempt.intent_id
    note_refused(BadInput.INTENT_OF_ANOTHER_ORDER, payment_id=str(attempt.pk), intent_id=refused)
    raise ProviderUnsure(f"{refused} was made for another payment.")


def _may_wait(attempt: PaymentAttempt, now: datetime) -> bool:
    """Say whether the buyer, who is with the bank, still has time to pay."""
    payment = Payment.objects.get(pk=attempt.order_id)
    return payment.state == Payment.State.OPEN and now < payment.expires_at


@transactional
def _give_up_unannounced(payment_id: str, now: datetime) -> bool:
    """End an attempt that remembers no intent; False if it does, and so may have been charged.

    What the settler was given may be old: the attempts before it have taken their time.
    """
    attempt = selectors.get_attempt(payment_id=payment_id)
    if attempt.intent_id:
        return False
    code, message = GIVEN_UP[Payment.objects.get(pk=attempt.order_id).closed_because]
    fail_attempt(payment_id=payment_id, code=code, message=message, now=now)
    return True
