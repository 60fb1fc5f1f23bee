"""Where an order stands in the eyes of its buyer: what its page says and offers."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from apps.orders.models import Order, Refund

if TYPE_CHECKING:
    from datetime import datetime


class Phase(StrEnum):
    RESERVED = "reserved"
    """Waiting for the buyer to pay."""
    DECLINED = "declined"
    """The last attempt to pay failed, and there is time for another."""
    CONFIRMING = "confirming"
    """Paid, or an attempt is under way; its outcome has not arrived here."""
    ENDING = "ending"
    """The time ran out; nobody else gets the ticket before the payments say that nothing came."""
    PAID = "paid"
    REVIVED = "revived"
    """Paid after the reservation had ended, while the ticket was still free."""
    GIVEN_BACK = "given_back"
    """Paid, and cancelled by the buyer all the same, for the money."""
    REFUNDED = "refunded"
    """Paid, and ended because all of the money went back."""
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def label(self) -> str:
        """A word for it. The status alone would call a declined payment "under way"."""
        return LABELS[self]

    @property
    def badge(self) -> str:
        """The status whose colour it has."""
        return BADGES[self].value

    @property
    def waits_for_buyer(self) -> bool:
        """The buyer may pay or cancel; in the middle of paying, nobody throws the ticket away."""
        return self in {Phase.RESERVED, Phase.DECLINED}

    @property
    def is_moving(self) -> bool:
        """The next step comes from another service, within moments."""
        return self in {Phase.CONFIRMING, Phase.ENDING}


LABELS: dict[Phase, str] = {
    Phase.RESERVED: "Reserved, not paid",
    Phase.DECLINED: "Not paid yet",
    Phase.CONFIRMING: "Confirming payment",
    Phase.ENDING: "Time is up",
    Phase.PAID: "Paid",
    Phase.REVIVED: "Paid",
    Phase.GIVEN_BACK: "Given back",
    Phase.REFUNDED: "Refunded",
    Phase.CANCELLED: "Cancelled",
    Phase.EXPIRED: "Expired",
}
BADGES: dict[Phase, Order.Status] = {
    Phase.RESERVED: Order.Status.CREATED,
    Phase.DECLINED: Order.Status.CREATED,
    Phase.CONFIRMING: Order.Status.AWAITING_PAYMENT,
    Phase.ENDING: Order.Status.CREATED,
    Phase.PAID: Order.Status.COMPLETE,
    Phase.REVIVED: Order.Status.COMPLETE,
    Phase.GIVEN_BACK: Order.Status.CANCELLED,
    Phase.REFUNDED: Order.Status.CANCELLED,
    Phase.CANCELLED: Order.Status.CANCELLED,
    Phase.EXPIRED: Order.Status.CANCELLED,
}

ENDINGS: dict[Order.CancelReason, Phase] = {
    Order.CancelReason.BUYER: Phase.CANCELLED,
    Order.CancelReason.EXPIRED: Phase.EXPIRED,
    Order.CancelReason.REFUNDED: Phase.REFUNDED,
}


def tell_phase(order: Order, *, now: datetime, confirming_since: int | None = None) -> Phase:
    """Tell where the order stands.

    Args:
        order: the order, which may be behind the payments.
        now: the moment of asking.
        confirming_since: the version of the payment that was known when the buyer came from
            paying; None when they did not. A failure that is older is not about that payment.
    """
    if order.is_complete:
        return Phase.REVIVED if order.was_revived else Phase.PAID
    if order.is_cancelled:
        reason = Order.CancelReason(order.cancel_reason)
        return Phase.GIVEN_BACK if order.was_returned else ENDINGS[reason]
    failed_since = order.payment_failure and order.payment_version > (confirming_since or 0)
    if order.open_payment_id or (confirming_since is not None and not failed_since):
        return Phase.CONFIRMING
    if order.expired_at is not None or now >= order.expires_at:
        return Phase.ENDING
    return Phase.DECLINED if order.payment_failure else Phase.RESERVED


def is_settled(order: Order, refunds: list[Refund]) -> bool:
    """Tell whether the page may stop asking: nothing changes by itself any more.

    A cancelled order is not settled before its payment is: money on its way may revive it.
    """
    if order.is_open or any(refund.is_on_its_way for refund in refunds):
        return False
    return order.was_paid or bool(refunds) or order.payment_closed_at is not None
