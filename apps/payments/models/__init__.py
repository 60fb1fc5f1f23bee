from __future__ import annotations

from apps.payments.models.attempt import PaymentAttempt
from apps.payments.models.payment import (
    OrderAlreadyPaid,
    OrderCancelledAlready,
    OrderExpiredAlready,
    Payment,
    TransitionRefused,
)
from apps.payments.models.webhook import StripeEvent

__all__ = [
    "OrderAlreadyPaid",
    "OrderCancelledAlready",
    "OrderExpiredAlready",
    "Payment",
    "PaymentAttempt",
    "StripeEvent",
    "TransitionRefused",
]
