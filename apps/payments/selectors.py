from __future__ import annotations

from datetime import datetime

from apps.core.errors import NotFound, NotSignedIn
from apps.payments.models import Payment, PaymentAttempt, StripeEvent


class PaymentNotFound(NotFound):
    code = "order_not_found"


def find_payment(*, order_id: str) -> Payment | None:
    """Return what is to be paid for the order; None until payments has heard of it."""
    return Payment.objects.filter(pk=order_id).first()


def get_payment(*, order_id: str, buyer_id: str) -> Payment:
    """Return what this buyer is to pay.

    Raises:
        PaymentNotFound: there is no such order, or payments has not heard of it yet.
        NotSignedIn: it is another's.
    """
    payment = find_payment(order_id=order_id)
    if payment is None:
        raise PaymentNotFound
    if payment.buyer_id != buyer_id:
        raise NotSignedIn
    return payment


def get_attempt(*, payment_id: str) -> PaymentAttempt:
    return PaymentAttempt.objects.get(pk=payment_id)


def find_last_attempt(*, order_id: str) -> PaymentAttempt | None:
    """Return the order's newest attempt to pay."""
    return PaymentAttempt.objects.filter(order_id=order_id).order_by("-attempt").first()


def list_attempts_to_settle(*, now: datetime, limit: int) -> list[PaymentAttempt]:
    """Return the attempts that the settler must look after, the longest due first."""
    due = PaymentAttempt.objects.filter(settle_at__lte=now)
    return list(due.order_by("settle_at")[:limit])


def list_stored_webhooks(*, limit: int) -> list[StripeEvent]:
    """Return the webhooks that nothing was done about yet, oldest first."""
    stored = StripeEvent.objects.filter(state=StripeEvent.State.STORED)
    return list(stored.order_by("received_at")[:limit])
