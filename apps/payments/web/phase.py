"""How far the payment of an order is in the eyes of its buyer: what the page says and offers."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from apps.payments.models import Payment, PaymentAttempt


class Phase(StrEnum):
    PREPARING = "preparing"
    """Payments has not heard of the order yet."""
    PAYABLE = "payable"
    CONFIRMING = "confirming"
    """An attempt is open: its outcome is not known here."""
    AUTHENTICATING = "authenticating"
    """The bank wants the buyer to confirm the open attempt (3-D Secure)."""
    PAID = "paid"
    REFUNDED = "refunded"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_moving(self) -> bool:
        return self in {Phase.PREPARING, Phase.CONFIRMING, Phase.AUTHENTICATING}


def tell_phase(
    payment: Payment | None, last: PaymentAttempt | None = None, *, now: datetime
) -> Phase:
    """Tell how far the payment is.

    Args:
        payment: None is one that payments has not heard of.
        last: its newest attempt.
        now: the time.
    """
    if payment is None:
        return Phase.PREPARING
    if payment.is_paid:
        is_refunded = payment.state == Payment.State.REFUNDED
        return Phase.REFUNDED if is_refunded else Phase.PAID
    if payment.active_payment_id:
        if last is not None and last.awaits_buyer and payment.state == Payment.State.OPEN:
            return Phase.AUTHENTICATING
        return Phase.CONFIRMING
    if payment.is_ending or now >= payment.expires_at:
        is_cancelled = payment.closed_because == Payment.Reason.CANCELLED
        return Phase.CANCELLED if is_cancelled else Phase.EXPIRED
    return Phase.PAYABLE
