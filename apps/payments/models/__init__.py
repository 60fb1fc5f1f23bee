from __future__ import annotations

from apps.payments.models.attempt import PaymentAttempt
from apps.payments.models.dispute import Dispute
from apps.payments.models.ledger import LedgerTransaction
from apps.payments.models.payment import (
    OrderAlreadyPaid,
    OrderCancelledAlready,
    OrderExpiredAlready,
    Payment,
    TransitionRefused,
)
from apps.payments.models.refund import Refund
from apps.payments.models.webhook import StripeEvent

__all__ = [
    "Dispute",
    "LedgerTransaction",
    "OrderAlreadyPaid",
    "OrderCancelledAlready",
    "OrderExpiredAlready",
    "Payment",
    "PaymentAttempt",
    "Refund",
    "StripeEvent",
    "TransitionRefused",
]
