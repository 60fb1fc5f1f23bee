from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from apps.core.errors import NotFound, NotSignedIn
from apps.payments.metrics import BadInput, note_refused
from apps.payments.models import (
    Dispute,
    LedgerTransaction,
    Payment,
    PaymentAttempt,
    Refund,
    StripeEvent,
)


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
        note_refused(BadInput.ORDER_OF_ANOTHER_BUYER, order_id=order_id, user_id=buyer_id)
        raise NotSignedIn
    return payment


def get_attempt(*, payment_id: str) -> PaymentAttempt:
    return PaymentAttempt.objects.get(pk=payment_id)


def find_attempt(*, payment_id: str) -> PaymentAttempt | None:
    """Return the attempt that has this id, which may be any text."""
    try:
        return PaymentAttempt.objects.filter(pk=uuid.UUID(payment_id)).first()
    except ValueError:
        return None


def find_attempt_of_intent(*, intent_id: str) -> PaymentAttempt | None:
    """Return the attempt that the provider knows by this intent."""
    return PaymentAttempt.objects.filter(intent_id=intent_id).first() if intent_id else None


def find_last_attempt(*, order_id: str) -> PaymentAttempt | None:
    """Return the order's newest attempt to pay."""
    return PaymentAttempt.objects.filter(order_id=order_id).order_by("-attempt").first()


def list_attempts_to_settle(*, now: datetime, limit: int) -> list[PaymentAttempt]:
    """Return the attempts that the settler must look after, the longest due first."""
    due = PaymentAttempt.objects.filter(settle_at__lte=now)
    return list(due.order_by("settle_at")[:limit])


def list_attempts_to_refund(*, now: datetime, limit: int) -> list[PaymentAttempt]:
    """Return the attempts whose refunds the settler must look after, the longest due first."""
    due = PaymentAttempt.objects.filter(refund_at__lte=now)
    return list(due.order_by("refund_at")[:limit])


def list_order_ids(*, after: str, limit: int) -> list[str]:
    """Return the next orders that payments knows of, in the order of their ids."""
    later = Payment.objects.filter(pk__gt=after).order_by("pk")
    return list(later.values_list("pk", flat=True)[:limit])


def list_orders_since(*, since: datetime | None) -> list[str]:
    """Return the orders of which payments has heard since then, or all."""
    payments = Payment.objects.all()
    if since is not None:
        payments = payments.filter(updated_at__gte=since)
    return list(payments.values_list("pk", flat=True))


def list_payments(*, order_ids: Sequence[str]) -> list[Payment]:
    return list(Payment.objects.filter(pk__in=order_ids))


def list_attempts(*, order_ids: Sequence[str]) -> list[PaymentAttempt]:
    """Return all attempts to pay these orders, each order's in turn."""
    return list(PaymentAttempt.objects.filter(order_id__in=order_ids).order_by("attempt"))


def list_refunds_of_orders(*, order_ids: Sequence[str]) -> list[Refund]:
    return list(Refund.objects.filter(order_id__in=order_ids))


def list_disputes_of_orders(*, order_ids: Sequence[str]) -> list[Dispute]:
    return list(Dispute.objects.filter(order_id__in=order_ids))


def list_refunds(*, payment_id: str, state: str = "") -> list[Refund]:
    """Return the refunds of an attempt, all or those in a state, in the order of their requests."""
    refunds = Refund.objects.filter(payment_id=payment_id)
    if state:
        refunds = refunds.filter(state=state)
    return list(refunds.order_by("requested_at", "key"))


def find_refund(*, payment_id: str, refund_id: str, provider_refund_id: str) -> Refund | None:
    """Return the attempt's refund that has this id, ours or the provider's."""
    refunds = list_refunds(payment_id=payment_id)
    return next(
        (
            refund
            for refund in refunds
            if str(refund.pk) == refund_id or refund.provider_refund_id == provider_refund_id
        ),
        None,
    )


def has_open_dispute(*, payment_id: str) -> bool:
    return Dispute.objects.filter(payment_id=payment_id, status__in=Dispute.OPEN).exists()


def sum_lost(*, payment_id: str, but: str = "") -> int:
    """Return what banks have given back to the buyer for good, without that of one dispute."""
    lost = Dispute.objects.filter(payment_id=payment_id, status=Dispute.LOST).exclude(pk=but)
    return sum(lost.values_list("amount_cents", flat=True))


def list_disputes_to_settle(*, now: datetime, limit: int) -> list[Dispute]:
    """Return the disputes that the provider must be asked about, the longest due first."""
    return list(Dispute.objects.filter(settle_at__lte=now).order_by("settle_at")[:limit])


def list_stored_webhooks(*, limit: int) -> list[StripeEvent]:
    """Return the webhooks that nothing was done about yet, oldest first."""
    stored = StripeEvent.objects.filter(state=StripeEvent.State.STORED)
    return list(stored.order_by("received_at")[:limit])


def sum_ledger() -> list[tuple[str, str, int]]:
    """Return the sum of each account of the ledger: currency, account, minor units."""
    database: Any = connection.database  # type: ignore[attr-defined]  # MongoDB's connection
    pipeline = [
        {"$unwind": "$lines"},
        {
            "$group": {
                "_id": {"currency": "$currency", "account": "$lines.account"},
                "cents": {"$sum": "$lines.cents"},
            }
        },
    ]
    found = database[LedgerTransaction._meta.db_table].aggregate(pipeline)  # noqa: SLF001
    return [(row["_id"]["currency"], row["_id"]["account"], row["cents"]) for row in found]
