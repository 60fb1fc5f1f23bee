"""What buyers' banks dispute, as the provider has it: asked for, never believed from a webhook."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import orjson
import structlog
from django.db.models import F
from django.utils import timezone

from apps.outbox import tracing
from apps.outbox.transactions import transactional
from apps.payments import selectors
from apps.payments.events import PaymentDisputed
from apps.payments.gateway import Gateway, ProviderDispute, ProviderRefused, ProviderUnsure
from apps.payments.models import Dispute, Payment, PaymentAttempt, StripeEvent
from apps.payments.services.ledger import enter_dispute, position_of
from apps.payments.services.paying import Clock
from apps.payments.services.writing import (
    ConcurrentChange,
    fact_of,
    tell,
    write_attempt,
    write_payment,
)

LONGEST_PAUSE_SECONDS = 60
LOOK_AGAIN_AFTER = timedelta(hours=1)
"""How often an open dispute is asked about, should no webhook come."""

log = structlog.get_logger(__name__)


@transactional
def mirror_dispute(webhook: StripeEvent, now: datetime, *, cause: str = "") -> bool:
    """Have the dispute that a webhook speaks of looked at; tell whether it is about one of ours.

    Args:
        webhook: as it was stored.
        now: the moment of processing it.
        cause: the event that told of it.
    """
    attempt = selectors.find_attempt_of_intent(intent_id=webhook.intent_id)
    if attempt is None:
        log.warning("a dispute of no payment of ours", webhook=webhook.pk)
        return False
    body: dict[str, Any] = orjson.loads(webhook.payload)
    dispute_id = str(body["data"]["object"]["id"])
    note_dispute(
        attempt=attempt, dispute_id=dispute_id, opened_at=webhook.created_at, now=now, cause=cause
    )
    return True


@transactional
def note_dispute(
    *,
    attempt: PaymentAttempt,
    dispute_id: str,
    opened_at: datetime,
    now: datetime,
    cause: str = "",
) -> None:
    """Have a dispute of this attempt looked at, which is new or known.

    Args:
        attempt: what is disputed.
        dispute_id: the provider's.
        opened_at: when it was, as far as that is known.
        now: the moment of looking.
        cause: the event that told of it, if one did.
    """
    hint = {"settle_at": now, "settle_tries": 0, "causation_id": cause}
    if not Dispute.objects.filter(pk=dispute_id).update(**hint):
        Dispute.objects.create(
            id=dispute_id,
            order_id=attempt.order_id,
            payment_id=str(attempt.pk),
            currency=attempt.currency,
            opened_at=opened_at,
            updated_at=now,
            **hint,
        )


def settle_dispute(*, dispute: Dispute, gateway: Gateway, clock: Clock = timezone.now) -> None:
    """Ask the provider how a dispute stands, and record it, or push the next try back."""
    now = clock()
    again_at = now + timedelta(seconds=min(LONGEST_PAUSE_SECONDS, 2**dispute.settle_tries))
    taken = Dispute.objects.filter(pk=dispute.pk, settle_at=dispute.settle_at).update(
        settle_at=again_at, settle_tries=F("settle_tries") + 1
    )
    if not taken:
        return  # another settler was quicker
    attempt = selectors.get_attempt(payment_id=dispute.payment_id)
    try:
        found = _ask(dispute, attempt, gateway)
        begun = replace(attempt.trace, causation_id=dispute.causation_id)
        with tracing.resuming("settle dispute", begun, order_id=dispute.order_id):
            is_open = record_dispute(found=found, now=clock())
    except (ProviderUnsure, ProviderRefused) as exc:
        log.warning("the dispute is not known yet", dispute_id=dispute.pk, why=str(exc))
        Dispute.objects.filter(pk=dispute.pk).update(last_error=str(exc))
        return
    Dispute.objects.filter(pk=dispute.pk, settle_at=again_at).update(
        settle_at=clock() + LOOK_AGAIN_AFTER if is_open else None
    )


def _ask(dispute: Dispute, attempt: PaymentAttempt, gateway: Gateway) -> ProviderDispute:
    found = gateway.retrieve_dispute(dispute_id=dispute.pk)
    if (found.intent_id, found.currency) != (attempt.intent_id, attempt.currency):
        raise ProviderRefused("foreign_dispute", "It is about another payment.")
    return found


@transactional
def record_dispute(*, found: ProviderDispute, now: datetime) -> bool:
    """Write down how a dispute stands; tell whether it may still change.

    Publishes PaymentDisputed when its status or amount is another than before, and enters into the
    ledger what that did to the money. A refund that waits for the bank's decision goes on then.
    """
    dispute = Dispute.objects.get(pk=found.id)
    if (dispute.status, dispute.amount_cents) == (found.status, found.amount_cents):
        return not found.is_closed
    attempt = selectors.get_attempt(payment_id=dispute.payment_id)
    payment = Payment.objects.get(pk=dispute.order_id)
    position, changes = position_of(dispute), dispute.changes
    attempt.disputed_cents -= dispute.taken_cents
    dispute.status, dispute.amount_cents = found.status, found.amount_cents
    dispute.changes += 1
    attempt.disputed_cents += dispute.taken_cents
    if attempt.is_refund_due:
        attempt.refund_at, attempt.refund_tries = now, 0
    lost = selectors.sum_lost(payment_id=dispute.payment_id, but=dispute.pk)
    lost += dispute.taken_cents if dispute.is_lost else 0
    fact = fact_of(
        PaymentDisputed,
        payment,
        attempt,
        dispute_id=dispute.pk,
        dispute_status=found.status,
        dispute_cents=found.amount_cents,
        reason=found.reason,
        returned_total_cents=attempt.refunded_cents + lost,
    )
    write_payment(payment, now)
    write_attempt(attempt, attempt.status)
    written = Dispute.objects.filter(pk=dispute.pk, changes=changes).update(
        status=dispute.status,
        amount_cents=dispute.amount_cents,
        changes=dispute.changes,
        reason=found.reason,
        evidence_due_at=found.evidence_due_at,
        updated_at=now,
        last_error="",
    )
    if written != 1:
        raise ConcurrentChange(dispute.pk)
    enter_dispute(dispute, position, now)
    tell(payment, fact)
    return not found.is_closed
