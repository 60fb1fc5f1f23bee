"""An order's way: reserved, paid, ended."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings

from apps.core.errors import Conflict, NotFound, NotSignedIn
from apps.orders.events import (
    OrderAwaitingPayment,
    OrderCompleted,
    OrderCreated,
    OrderExpired,
)
from apps.orders.models import Order, Refund, parse_order_id
from apps.orders.services.claiming import find_claim, lock_copy
from apps.orders.services.refunding import promised_cents, request_refund
from apps.orders.services.writing import cancel, cancel_paid, lock_order, tell
from apps.outbox.context import current_trace
from apps.outbox.inserting import insert
from apps.outbox.transactions import transactional

if TYPE_CHECKING:
    from datetime import datetime

    from apps.orders.events import (
        PaymentClosed,
        PaymentFailed,
        PaymentStarted,
        PaymentSucceeded,
    )
    from apps.orders.models import TicketCopy

TICKET_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")

RESOLD = (
    "Your payment arrived after the reservation had ended, and the ticket was no longer available."
)
PAID_TWICE = "This order had already been paid for by another payment."
YOU_CANCELLED = "You cancelled the order."
WRONG_AMOUNT = "The payment was not for the price of this order."


class TicketNotFound(NotFound):
    code = "ticket_not_found"


class TicketAlreadyReserved(Conflict):
    code = "ticket_already_reserved"

    def __init__(self, *, own_order_id: str = "") -> None:
        super().__init__("Ticket is already reserved")
        self.own_order_id = own_order_id
        """The order by which this very buyer holds the ticket, if so."""


def create_order(*, ticket_id: str, buyer_id: str, now: datetime) -> Order:
    """Reserve a ticket for the buyer, and publish OrderCreated.

    Raises:
        TicketNotFound: no such ticket is known here, or it was withdrawn.
        TicketAlreadyReserved: it is claimed, or another buyer was quicker by a moment.
    """
    if not TICKET_ID.fullmatch(ticket_id):
        raise TicketNotFound
    # Nearly all who want a hot ticket end here, without a transaction and without waiting for the
    # lock on its copy.
    _refuse_if_claimed(ticket_id, buyer_id)
    return _claim(ticket_id, buyer_id, now)


@transactional
def _claim(ticket_id: str, buyer_id: str, now: datetime) -> Order:
    copy = lock_copy(ticket_id)
    if copy is None or copy.is_withdrawn:
        raise TicketNotFound
    if _is_held_elsewhere(copy, order_id=""):
        _refuse_if_claimed(ticket_id, buyer_id)
        raise TicketAlreadyReserved
    opened_at = now.replace(microsecond=now.microsecond // 1000 * 1000)
    order = Order(
        buyer_id=buyer_id,
        ticket_id=copy.ticket_id,
        ticket_title=copy.title,
        ticket_version=copy.version,
        seller_id=copy.seller_id,
        price_cents=copy.price_cents,
        currency=copy.currency,
        traceparent=current_trace().traceparent,
        created_at=now,
        # Events carry milliseconds: the row must not know the deadline better than its readers.
        expires_at=opened_at + timedelta(seconds=settings.EXPIRATION_WINDOW_SECONDS),
    )
    # The unique index decides who has the ticket; without an error, after which PostgreSQL would
    # accept no further statement of this transaction.
    if not insert(order, unless_there=True):
        _refuse_if_claimed(ticket_id, buyer_id)
        raise TicketAlreadyReserved
    tell(order, OrderCreated)
    return order


@transactional
def cancel_order(*, order_id: str, buyer_id: str, now: datetime) -> Order:
    """End the buyer's order, and publish OrderCancelled; a second time changes nothing.

    A paid one ends within PAID_ORDER_CANCELLATION_SECONDS, publishing OrderRefundRequested, too.

    Raises:
        OrderNotFound: there is none, or the id is malformed.
        NotSignedIn: it is another's, whatever its status.
        TicketUsed, OrderAlreadyPaid, CancellationOver: it is complete, and stays so.
    """
    order = lock_order(order_id)
    if order.buyer_id != buyer_id:
        raise NotSignedIn
    if order.is_complete:
        within = timedelta(seconds=settings.PAID_ORDER_CANCELLATION_SECONDS)
        order.refuse_unless_returnable(within=within, now=now)
        cancel_paid(order, Order.CancelReason.BUYER, now)
        if left := order.price_cents - promised_cents(order, order.payment_id):
            refund = Refund(
                order=order,
                payment_id=order.payment_id,
                amount_cents=left,
                currency=order.currency,
                reason=YOU_CANCELLED,
                requested_by=Refund.BUYER,
                requested_at=now,
            )
            request_refund(order, refund)
            order.save()
    elif not order.is_cancelled:
        cancel(order, Order.CancelReason.BUYER, now)
    return order


@transactional
def start_payment(*, payment: PaymentStarted) -> None:
    """Note that an attempt to pay began, and publish OrderAwaitingPayment at the first."""
    order = lock_order(payment.order_id)
    if payment.version > order.payment_version and not order.is_complete:
        order.open_payment_id = payment.payment_id
        order.payment_failure = ""
        order.payment_version = payment.version
    if order.status == Order.Status.CREATED:
        order.await_payment()
        tell(order, OrderAwaitingPayment)
    order.save()


@transactional
def fail_payment(*, payment: PaymentFailed) -> None:
    """Note that an attempt ended without money, for the buyer's page. The claim stands."""
    order = lock_order(payment.order_id)
    if payment.version <= order.payment_version:
        return
    order.payment_version = payment.version
    if order.open_payment_id in {"", payment.payment_id}:
        order.open_payment_id = ""
        order.payment_failure = payment.failure_message
    order.save()


@transactional
def record_payment(*, payment: PaymentSucceeded, now: datetime) -> None:
    """Give the order its ticket for the money, or ask for the money to go back: once, either way.

    An open order completes, expired or not. One that was cancelled unpaid is revived while nobody
    else claims the ticket. Any other payment is to be refunded. Publishes OrderCompleted or
    OrderRefundRequested; a payment that was seen before changes nothing. One that all went back
    before this was heard of buys nothing: an open order ends, publishing OrderCancelled.
    """
    order = lock_order(payment.order_id)
    payment_id = payment.payment_id
    refunds = order.refunds.filter(payment_id=payment_id)
    if order.payment_id == payment_id or refunds.filter(requested_by__in=Refund.OURS).exists():
        return
    if sum(refund.amount_cents for refund in refunds if refund.refunded_at) >= payment.amount_cents:
        if order.is_open:
            cancel(order, Order.CancelReason.REFUNDED, now)
        return
    order.payment_version = max(order.payment_version, payment.version)
    order.open_payment_id = ""
    order.payment_failure = ""
    if (payment.amount_cents, payment.currency) != (order.price_cents, order.currency):
        _refund_payment(order, payment, WRONG_AMOUNT, now)
    elif order.is_open:
        order.complete(payment_id=payment_id, now=now)
        tell(order, OrderCompleted, payment_id=payment_id)
    elif order.is_cancelled and _may_revive(order):
        order.revive(payment_id=payment_id, now=now)
        tell(order, OrderCompleted, payment_id=payment_id)
    else:
        _refund_payment(order, payment, PAID_TWICE if order.was_paid else RESOLD, now)
    order.save()


@transactional
def expire_order(*, order_id: str, now: datetime) -> None:
    """Note that the time to pay ran out, and publish OrderExpired; the claim stands.

    A paid, cancelled or already expired order is left as it is: a deadline that passes again
    must not free a ticket that somebody else may hold by now.
    """
    order = lock_order(order_id)
    if not order.is_open or order.expired_at is not None:
        return
    order.expire(now=now)
    tell(order, OrderExpired)
    _end_when_over(order, now)
    order.save()


@transactional
def close_order(*, payment: PaymentClosed, now: datetime) -> None:
    """Note that nothing can be paid any more; an expired order ends, publishing OrderCancelled."""
    order = lock_order(payment.order_id)
    order.payment_version = max(order.payment_version, payment.version)
    order.open_payment_id = ""
    if order.payment_closed_at is None:
        order.payment_closed_at = now
    _end_when_over(order, now)
    order.save()


def _is_held_elsewhere(copy: TicketCopy, *, order_id: str) -> bool:
    """Say whether tickets knows of a holder that our own claims do not account for.

    The copy may be behind: a holder that was cancelled here is on its way out there and holds
    nothing. A holder unknown here (a restored backup, say) does hold the ticket.
    """
    if copy.order_id in {"", order_id}:
        return False
    key = parse_order_id(copy.order_id)
    if key is None:
        return True
    return not Order.objects.filter(pk=key, status=Order.Status.CANCELLED).exists()


def _refuse_if_claimed(ticket_id: str, buyer_id: str) -> None:
    claim = find_claim(ticket_id)
    if claim is not None:
        order_id, holder_id = claim
        raise TicketAlreadyReserved(own_order_id=order_id if holder_id == buyer_id else "")


def _may_revive(order: Order) -> bool:
    """Say whether the ticket is still free; it stays so until the transaction ends.

    create_order locks the same copy before it claims the ticket. An order that was paid before
    ended by its buyer's wish, or has its money back: later money does not bring it back to life.
    """
    if order.was_paid:
        return False
    copy = lock_copy(order.ticket_id)
    if copy is None or copy.is_withdrawn or _is_held_elsewhere(copy, order_id=str(order.pk)):
        return False
    return find_claim(order.ticket_id) is None


def _end_when_over(order: Order, now: datetime) -> None:
    if order.is_over:
        cancel(order, Order.CancelReason.EXPIRED, now)


def _refund_payment(order: Order, payment: PaymentSucceeded, reason: str, now: datetime) -> None:
    refund = Refund(
        order=order,
        payment_id=payment.payment_id,
        amount_cents=payment.amount_cents,
        currency=payment.currency,
        reason=reason,
        requested_by=Refund.SYSTEM,
        requested_at=now,
    )
    request_refund(order, refund)
