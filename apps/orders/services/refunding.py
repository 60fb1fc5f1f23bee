"""Money that goes back: what orders asks for, and what payments tells of it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import uuid6

from apps.orders.events import OrderRefundRequested
from apps.orders.models import Order, Refund
from apps.orders.services.writing import cancel_paid, lock_order, tell
from apps.outbox.transactions import transactional

if TYPE_CHECKING:
    from datetime import datetime

    from apps.orders.events import (
        PaymentDisputed,
        PaymentRefunded,
        PaymentRefundFailed,
        PaymentRefundRequested,
    )


@transactional
def note_refund(*, payment: PaymentRefundRequested) -> None:
    """Note that money is on its way back, for the buyer's page."""
    order = lock_order(payment.order_id)
    refund = _find_refund(order, payment)
    if refund is None or refund.is_on_its_way:
        refund = refund or Refund(id=uuid.UUID(payment.refund_id), order=order)
        refund.payment_id, refund.currency = payment.payment_id, payment.currency
        refund.amount_cents, refund.reason = payment.refund_cents, payment.reason
        refund.requested_by = refund.requested_by or payment.requested_by
        refund.requested_at = refund.requested_at or payment.requested_at
        refund.save()


@transactional
def record_refund(*, payment: PaymentRefunded, now: datetime) -> None:
    """Note that money went back, and why, for the buyer's page.

    A paid order of which everything went back ends, publishing OrderCancelled.
    """
    order = lock_order(payment.order_id)
    refund = _find_refund(order, payment)
    if refund is None:
        key = uuid.UUID(payment.refund_id) if payment.refund_id else uuid6.uuid7()
        refund = Refund(id=key, order=order, requested_by=payment.requested_by)
    if refund.is_on_its_way:
        refund.payment_id, refund.currency = payment.payment_id, payment.currency
        refund.amount_cents = payment.refund_cents if payment.refund_id else payment.amount_cents
        refund.refunded_at, refund.reason = payment.refunded_at, payment.reason
        refund.save()
    order.payment_version = max(order.payment_version, payment.version)
    if not payment.refund_id or payment.refunded_total_cents >= payment.amount_cents:
        # What orders asked for beside it has come to nothing: there is nothing left to give.
        waiting = order.refunds.filter(payment_id=payment.payment_id, refunded_at=None)
        waiting.filter(failed_at=None).delete()
        _end_given_back(order, payment.payment_id, now)
    elif payment.returned_total_cents >= payment.amount_cents:
        _end_given_back(order, payment.payment_id, now)
    order.save()


@transactional
def record_dispute(*, payment: PaymentDisputed, now: datetime) -> None:
    """End a paid order whose buyer has all of the money back from the bank.

    Publishes OrderCancelled, as a refund of everything does: the ticket can be sold again.
    """
    order = lock_order(payment.order_id)
    order.payment_version = max(order.payment_version, payment.version)
    if payment.returned_total_cents >= payment.amount_cents:
        _end_given_back(order, payment.payment_id, now)
    order.save()


@transactional
def fail_refund(*, payment: PaymentRefundFailed) -> None:
    """Note that a refund came to nothing, for the buyer's page. A cancelled order stays so."""
    order = lock_order(payment.order_id)
    order.refunds.filter(pk=payment.refund_id, failed_at=None).update(failed_at=payment.failed_at)


def request_refund(order: Order, refund: Refund) -> None:
    """Ask for a refund, and publish OrderRefundRequested. The caller writes the order."""
    order.request_refund()
    refund.save(force_insert=True)
    tell(
        order,
        OrderRefundRequested,
        payment_id=refund.payment_id,
        reason=refund.reason,
        refund_id=str(refund.pk),
        requested_by=refund.requested_by,
    )


def promised_cents(order: Order, payment_id: str) -> int:
    refunds = order.refunds.filter(payment_id=payment_id, failed_at=None)
    return sum(refunds.values_list("amount_cents", flat=True))


def _end_given_back(order: Order, payment_id: str, now: datetime) -> None:
    if order.is_complete and order.payment_id == payment_id:
        cancel_paid(order, Order.CancelReason.REFUNDED, now)


def _find_refund(order: Order, payment: PaymentRefundRequested | PaymentRefunded) -> Refund | None:
    """Find what is known of a refund.

    Before refunds had an id, there was one of all that an attempt had paid. Payments gave those
    that it still owed then an id that we have not heard of.
    """
    refunds = order.refunds.filter(payment_id=payment.payment_id)
    if not payment.refund_id:
        return refunds.first()
    known = refunds.filter(pk=payment.refund_id).first()
    if known is None and payment.requested_by == Refund.SYSTEM:
        return refunds.filter(requested_by=Refund.SYSTEM, refunded_at=None).first()
    return known
