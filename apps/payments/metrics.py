"""What Prometheus is told of payments, and the log of bad input; reconciliation has its own."""

from __future__ import annotations

from enum import StrEnum

import structlog
from prometheus_client import Counter

log = structlog.get_logger(__name__)

failures = Counter(
    "payment_failures",
    "Attempts to pay that came to nothing, by the code of the reason.",
    ("code",),
)
refused = Counter(
    "payments_refused", "Bad input that was refused and changed nothing, by reason.", ("reason",)
)


class BadInput(StrEnum):
    """Why something was refused: the metric's label, and `reason` in the log."""

    WEBHOOK_UNSIGNED = "webhook_unsigned"
    WEBHOOK_WRONGLY_SIGNED = "webhook_wrongly_signed"
    WEBHOOK_TOO_OLD = "webhook_too_old"
    WEBHOOK_UNREADABLE = "webhook_unreadable"
    WEBHOOK_REPLAYED = "webhook_replayed"
    WEBHOOK_OF_UNKNOWN_TYPE = "webhook_of_unknown_type"
    WEBHOOK_OF_UNKNOWN_PAYMENT = "webhook_of_unknown_payment"
    INTENT_OF_ANOTHER_ORDER = "intent_of_another_order"
    ORDER_OF_ANOTHER_BUYER = "order_of_another_buyer"
    ORDER_PAID_ALREADY = "order_paid_already"
    AMOUNT_MISMATCH = "amount_mismatch"
    CURRENCY_MISMATCH = "currency_mismatch"


OF_EVERY_DAY = frozenset(
    {BadInput.WEBHOOK_REPLAYED, BadInput.WEBHOOK_OF_UNKNOWN_TYPE, BadInput.ORDER_PAID_ALREADY}
)
"""What honest providers and buyers send as well: webhooks come at least once, buttons are pressed
twice."""


def note_refused(reason: BadInput, **facts: str) -> None:
    """Count bad input and log it, with the ids it is about."""
    tell = log.info if reason in OF_EVERY_DAY else log.warning
    tell("refused; nothing was changed", reason=str(reason), **facts)
    refused.labels(str(reason)).inc()


def note_other_money(reason: BadInput, **facts: str) -> None:
    """Count money that is not what was asked for, and log it: it pays nothing, and goes back."""
    log.error("other money was taken than was asked for", reason=str(reason), **facts)
    refused.labels(str(reason)).inc()
