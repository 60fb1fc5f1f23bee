"""The only writer of payments' models."""

from __future__ import annotations

from apps.payments.services.closing import close_payment, record_order
from apps.payments.services.disputes import mirror_dispute, record_dispute, settle_dispute
from apps.payments.services.ledger import LedgerDifference, check_ledger, total_by_account
from apps.payments.services.paying import (
    PaymentDeclined,
    begin_attempt,
    fail_attempt,
    notice_return,
    pay_order,
    record_outcome,
    use_another_card,
)
from apps.payments.services.reconciling import look_again
from apps.payments.services.refunding import (
    RefundInvalid,
    RefundTooLarge,
    notice_refund,
    record_refund,
    request_refund,
    settle_refunds,
)
from apps.payments.services.settling import settle_attempt
from apps.payments.services.webhooks import process_webhook, store_webhook
from apps.payments.services.writing import ConcurrentChange

__all__ = [
    "ConcurrentChange",
    "LedgerDifference",
    "PaymentDeclined",
    "RefundInvalid",
    "RefundTooLarge",
    "begin_attempt",
    "check_ledger",
    "close_payment",
    "fail_attempt",
    "look_again",
    "mirror_dispute",
    "notice_refund",
    "notice_return",
    "pay_order",
    "process_webhook",
    "record_dispute",
    "record_order",
    "record_outcome",
    "record_refund",
    "request_refund",
    "settle_attempt",
    "settle_dispute",
    "settle_refunds",
    "store_webhook",
    "total_by_account",
    "use_another_card",
]
