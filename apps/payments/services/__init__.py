"""The only writer of payments' models."""

from __future__ import annotations

from apps.payments.services.closing import close_payment, record_order
from apps.payments.services.paying import (
    PaymentDeclined,
    begin_attempt,
    fail_attempt,
    pay_order,
    record_outcome,
)
from apps.payments.services.settling import record_refund, request_refund, settle_attempt
from apps.payments.services.webhooks import process_webhook, store_webhook
from apps.payments.services.writing import ConcurrentChange

__all__ = [
    "ConcurrentChange",
    "PaymentDeclined",
    "begin_attempt",
    "close_payment",
    "fail_attempt",
    "pay_order",
    "process_webhook",
    "record_order",
    "record_outcome",
    "record_refund",
    "request_refund",
    "settle_attempt",
    "store_webhook",
]
