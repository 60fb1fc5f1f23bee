"""What a reconciliation mends: it asks the provider anew, as a webhook would have had it asked."""

from __future__ import annotations

from django.utils import timezone

from apps.payments import selectors
from apps.payments.gateway import Gateway
from apps.payments.models import Dispute, PaymentAttempt
from apps.payments.services.disputes import note_dispute, settle_dispute
from apps.payments.services.paying import Clock
from apps.payments.services.refunding import settle_refunds
from apps.payments.services.settling import settle_attempt


def look_again(
    *,
    payment_id: str,
    gateway: Gateway,
    intent_id: str = "",
    dispute_id: str = "",
    clock: Clock = timezone.now,
) -> None:
    """Ask the provider about an attempt, its refunds and its disputes, and record the answers.

    Args:
        payment_id: the attempt.
        gateway: the provider.
        intent_id: its payment intent, in case that is not known here.
        dispute_id: a dispute of it that may not be known here.
        clock: the time.
    """
    now = clock()
    attempts = PaymentAttempt.objects.filter(pk=payment_id)
    if intent_id:
        attempts.filter(intent_id="").update(intent_id=intent_id)
    unpaid = (PaymentAttempt.Status.PENDING, PaymentAttempt.Status.FAILED)
    if attempts.filter(status__in=unpaid).update(settle_at=now, settle_tries=0):
        attempt = selectors.get_attempt(payment_id=payment_id)
        settle_attempt(attempt=attempt, gateway=gateway, clock=clock)
    attempt = selectors.get_attempt(payment_id=payment_id)
    if dispute_id:
        note_dispute(attempt=attempt, dispute_id=dispute_id, opened_at=now, now=now)
        dispute = Dispute.objects.get(pk=dispute_id)
        settle_dispute(dispute=dispute, gateway=gateway, clock=clock)
    if attempt.is_paid:
        attempts.update(refund_at=now, refund_tries=0)
        attempt = selectors.get_attempt(payment_id=payment_id)
        settle_refunds(attempt=attempt, gateway=gateway, clock=clock)
