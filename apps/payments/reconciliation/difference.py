from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What may be different; docs/operations.md says what to do about each."""

    UNKNOWN_CHARGE = "unknown_charge"
    """The provider has taken money for an attempt that nobody here knows."""
    CHARGE_NOT_RECORDED = "charge_not_recorded"
    """The provider has taken the money of an attempt that is open or failed here."""
    CHARGE_NOT_AT_PROVIDER = "charge_not_at_provider"
    """An attempt is paid here, and not at the provider."""
    AMOUNT_DIFFERS = "amount_differs"
    """The provider has taken another amount or currency than is recorded, or than the price."""
    CHARGED_TWICE = "charged_twice"
    """Two attempts of one order have taken money, and neither's goes back."""
    REFUND_NOT_RECORDED = "refund_not_recorded"
    """The provider has given money back that was not given back here."""
    REFUND_NOT_AT_PROVIDER = "refund_not_at_provider"
    """A refund is given here, and not at the provider."""
    REFUND_EXCEEDS_PAYMENT = "refund_exceeds_payment"
    """More went back than was paid."""
    DISPUTE_NOT_RECORDED = "dispute_not_recorded"
    """A bank disputes a payment, and it is not known here, or known with another status."""
    ATTEMPT_STUCK = "attempt_stuck"
    """An attempt is open for longer than its order can be paid."""
    REFUND_STUCK = "refund_stuck"
    """A refund is due that nobody has given."""
    LEDGER_DIFFERS = "ledger_differs"
    """The ledger says something else than the payments, refunds and disputes that it records."""
    ORDER_UNKNOWN = "order_unknown"
    """Orders has an order of which payments has not heard."""
    PAID_ORDER_NOT_COMPLETE = "paid_order_not_complete"
    """An order is paid, but not complete, and its money does not go back."""
    COMPLETE_ORDER_NOT_PAID = "complete_order_not_paid"
    """An order is complete, and nobody has paid for it, or all of the money went back."""
    TICKET_SOLD_TWICE = "ticket_sold_twice"
    """Two complete orders are about one ticket."""
    TICKET_NOT_HELD = "ticket_not_held"
    """A complete order's ticket is not marked as its."""
    TICKET_HELD_FOR_NOTHING = "ticket_held_for_nothing"
    """A ticket is marked as an order's that has ended."""

    @property
    def is_repaired_by_asking(self) -> bool:
        """Asking the provider anew, as the settler does, mends it, safely and for good."""
        return self in ASKED


ASKED = frozenset(
    {
        Kind.CHARGE_NOT_RECORDED,
        Kind.REFUND_NOT_RECORDED,
        Kind.DISPUTE_NOT_RECORDED,
        Kind.ATTEMPT_STUCK,
        Kind.REFUND_STUCK,
    }
)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that two sides say differently.

    Args:
        kind: what is different.
        order_id: whose; empty where no order is known.
        subject: the intent, attempt, refund, dispute or ticket that it is about.
        detail: both sides, in words.
        payment_id: the attempt, where there is one.
    """

    kind: Kind
    order_id: str
    subject: str
    detail: str
    payment_id: str = ""
