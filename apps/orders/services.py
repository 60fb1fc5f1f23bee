"""The only writer of orders, their refunds and the copies of tickets.

Each function is one transaction, or a part of the caller's. It locks the order's row first and
then, where the claim on a ticket is at stake, the ticket's copy: in this sequence everywhere, so
that two of them never wait for each other.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings

from apps.core.errors import Conflict, NotFound, NotSignedIn
from apps.orders.events import (
    OrderAwaitingPayment,
    OrderCancelled,
    OrderCompleted,
    OrderCreated,
    OrderExpired,
    OrderRefundRequested,
)
from apps.orders.models import Order, Refund, TicketCopy, parse_order_id
from apps.orders.selectors import OrderNotFound
from apps.outbox.publish import publish
from apps.outbox.transactions import transactional

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from apps.orders.events import (
        PaymentClosed,
        PaymentFailed,
        PaymentRefunded,
        PaymentStarted,
        PaymentSucceeded,
        TicketState,
    )

TICKET_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")

RESOLD = (
    "Your payment arrived after the reservation had ended, and the ticket was no longer available."
)
PAID_TWICE = "This order had already been paid for by another payment."
WRONG_AMOUNT = "The payment was not for the price of this order."


class TicketNotFound(NotFound):
    code = "ticket_not_found"


class TicketAlreadyReserved(Conflict):
    code = "ticket_already_reserved"

    def __init__(self, *, own_order_id: str = "") -> None:
        super().__init__("Ticket is already reserved")
        self.own_order_id = own_order_id
        """The order by which this very buyer holds the ticket, if so."""


@transactional
def create_order(*, ticket_id: str, buyer_id: str, now: datetime) -> Order:
    """Reserve a ticket for the buyer, and publish OrderCreated.

    Raises:
        TicketNotFound: no such ticket is known here, or it was withdrawn.
        TicketAlreadyReserved: it is claimed, or another buyer was quicker by a moment.
    """
    copy = _lock_copy(ticket_id)
    if copy is None or copy.is_withdrawn:
        raise TicketNotFound
    if _is_held_elsewhere(copy, order_id=""):
        raise TicketAlreadyReserved(own_order_id=_find_own_claim(ticket_id, buyer_id))
    opened_at = now.replace(microsecond=now.microsecond // 1000 * 1000)
    order = Order(
        buyer_id=buyer_id,
        ticket_id=copy.ticket_id,
        ticket_title=copy.title,
        ticket_version=copy.version,
        seller_id=copy.seller_id,
        price_cents=copy.price_cents,
        currency=copy.currency,
        created_at=now,
        # Events carry milliseconds: the row must not know the deadline better than its readers.
        expires_at=opened_at + timedelta(seconds=settings.EXPIRATION_WINDOW_SECONDS),
    )
    # The unique index decides who has the ticket. DO NOTHING lets it decide without an error,
    # after which PostgreSQL would accept no further statement of this transaction.
    Order.objects.bulk_create([order], ignore_conflicts=True)
    if not Order.objects.filter(pk=order.pk).exists():
        raise TicketAlreadyReserved(own_order_id=_find_own_claim(ticket_id, buyer_id))
    publish(OrderCreated(**_state(order)))
    return order


@transactional
def cancel_order(*, order_id: str, buyer_id: str, now: datetime) -> Order:
    """End the buyer's order unpaid, and publish OrderCancelled; a second time changes nothing.

    Raises:
        OrderNotFound: there is none, or the id is malformed.
        NotSignedIn: it is another's, whatever its status.
        OrderAlreadyPaid: it is complete.
    """
    order = _lock_order(order_id)
    if order.buyer_id != buyer_id:
        raise NotSignedIn
    if not order.is_cancelled:
        _cancel(order, Order.CancelReason.BUYER, now)
    return order


@transactional
def start_payment(*, payment: PaymentStarted) -> None:
    """Note that an attempt to pay began, and publish OrderAwaitingPayment at the first."""
    order = _lock_order(payment.order_id)
    if payment.version > order.payment_version and not order.is_complete:
        order.open_payment_id = payment.payment_id
        order.payment_failure = ""
        order.payment_version = payment.version
    if order.status == Order.Status.CREATED:
        order.await_payment()
        publish(OrderAwaitingPayment(**_state(order)))
    order.save()


@transactional
def fail_payment(*, payment: PaymentFailed) -> None:
    """Note that an attempt ended without money, for the buyer's page. The claim stands."""
    order = _lock_order(payment.order_id)
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

    An open order completes, expired or not. A cancelled one is revived while nobody else claims
    the ticket. Any other payment is to be refunded. Publishes OrderCompleted or
    OrderRefundRequested; a payment that was seen before changes nothing.
    """
    order = _lock_order(payment.order_id)
    payment_id = payment.payment_id
    if order.payment_id == payment_id or order.refunds.filter(payment_id=payment_id).exists():
        return
    order.payment_version = max(order.payment_version, payment.version)
    order.open_payment_id = ""
    order.payment_failure = ""
    if (payment.amount_cents, payment.currency) != (order.price_cents, order.currency):
        _request_refund(order, payment, WRONG_AMOUNT, now)
    elif order.is_open:
        order.complete(payment_id=payment_id, now=now)
        publish(OrderCompleted(**_state(order), payment_id=payment_id))
    elif order.is_cancelled and _may_revive(order):
        order.revive(payment_id=payment_id, now=now)
        publish(OrderCompleted(**_state(order), payment_id=payment_id))
    else:
        _request_refund(order, payment, PAID_TWICE if order.is_complete else RESOLD, now)
    order.save()


@transactional
def expire_order(*, order_id: str, now: datetime) -> None:
    """Note that the time to pay ran out, and publish OrderExpired; the claim stands.

    A paid, cancelled or already expired order is left as it is: a deadline that passes again
    must not free a ticket that somebody else may hold by now.
    """
    order = _lock_order(order_id)
    if not order.is_open or order.expired_at is not None:
        return
    order.expire(now=now)
    publish(OrderExpired(**_state(order)))
    _end_when_over(order, now)
    order.save()


@transactional
def close_order(*, payment: PaymentClosed, now: datetime) -> None:
    """Note that nothing can be paid any more; an expired order ends, publishing OrderCancelled."""
    order = _lock_order(payment.order_id)
    order.payment_version = max(order.payment_version, payment.version)
    order.open_payment_id = ""
    if order.payment_closed_at is None:
        order.payment_closed_at = now
    _end_when_over(order, now)
    order.save()


@transactional
def record_refund(*, payment: PaymentRefunded) -> None:
    """Note when the money went back, and why, for the buyer's page."""
    order = _lock_order(payment.order_id)
    refund = Refund(
        payment_id=payment.payment_id,
        order=order,
        amount_cents=payment.amount_cents,
        currency=payment.currency,
        reason=payment.reason,
    )
    Refund.objects.bulk_create([refund], ignore_conflicts=True)
    order.refunds.filter(payment_id=payment.payment_id, refunded_at=None).update(
        refunded_at=payment.refunded_at, reason=payment.reason
    )
    order.payment_version = max(order.payment_version, payment.version)
    order.save()


@transactional
def record_ticket(*, ticket: TicketState) -> None:
    """Bring the copy of a ticket to this version, unless it is as new already."""
    state = ticket_state(ticket)
    key = ticket.ticket_id
    TicketCopy.objects.bulk_create([TicketCopy(ticket_id=key, **state)], ignore_conflicts=True)
    TicketCopy.objects.filter(pk=key, version__lt=ticket.version).update(**state)


def ticket_state(ticket: TicketState) -> dict[str, Any]:
    """Return what the copy of a ticket says after the event, beside the ticket's id."""
    return {
        "version": ticket.version,
        "title": ticket.title,
        "price_cents": ticket.price_cents,
        "currency": ticket.currency,
        "seller_id": ticket.seller_id,
        "order_id": ticket.order_id or "",
        "is_withdrawn": ticket.is_withdrawn,
    }


@transactional
def restore_ticket(*, ticket_id: str, state: Mapping[str, Any] | None) -> None:
    """Make the copy of a ticket what its events say, unless it has become newer meanwhile.

    A copy that no event speaks of (None) is removed.
    """
    copies = TicketCopy.objects.filter(pk=ticket_id)
    if state is None:
        copies.delete()
        return
    TicketCopy.objects.bulk_create(
        [TicketCopy(ticket_id=ticket_id, **state)], ignore_conflicts=True
    )
    copies.filter(version__lte=state["version"]).update(**state)


def _lock_order(order_id: str) -> Order:
    key = parse_order_id(order_id)
    order = None if key is None else Order.objects.select_for_update().filter(pk=key).first()
    if order is None:
        raise OrderNotFound
    return order


def _lock_copy(ticket_id: str) -> TicketCopy | None:
    if not TICKET_ID.fullmatch(ticket_id):
        return None
    return TicketCopy.objects.select_for_update().filter(pk=ticket_id).first()


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


def _find_own_claim(ticket_id: str, buyer_id: str) -> str:
    claims = Order.objects.filter(ticket_id=ticket_id, status__in=Order.CLAIMING)
    key = claims.filter(buyer_id=buyer_id).values_list("pk", flat=True).first()
    return "" if key is None else str(key)


def _may_revive(order: Order) -> bool:
    """Say whether the ticket is still free; it stays so until the transaction ends.

    create_order locks the same copy before it claims the ticket.
    """
    copy = _lock_copy(order.ticket_id)
    if copy is None or copy.is_withdrawn or _is_held_elsewhere(copy, order_id=str(order.pk)):
        return False
    claims = Order.objects.filter(ticket_id=order.ticket_id, status__in=Order.CLAIMING)
    return not claims.exists()


def _cancel(order: Order, reason: Order.CancelReason, now: datetime) -> None:
    order.cancel(reason=reason, now=now)
    order.save()
    publish(OrderCancelled(**_state(order), reason=reason.value))


def _end_when_over(order: Order, now: datetime) -> None:
    if order.is_over:
        _cancel(order, Order.CancelReason.EXPIRED, now)


def _request_refund(order: Order, payment: PaymentSucceeded, reason: str, now: datetime) -> None:
    order.request_refund()
    Refund.objects.create(
        payment_id=payment.payment_id,
        order=order,
        amount_cents=payment.amount_cents,
        currency=payment.currency,
        reason=reason,
        requested_at=now,
    )
    publish(OrderRefundRequested(**_state(order), payment_id=payment.payment_id, reason=reason))


def _state(order: Order) -> dict[str, Any]:
    """Return the fields that every event of an order carries."""
    return {
        "order_id": str(order.pk),
        "version": order.version,
        "status": str(order.status),
        "buyer_id": order.buyer_id,
        "ticket_id": order.ticket_id,
        "ticket_title": order.ticket_title,
        "ticket_version": order.ticket_version,
        "seller_id": order.seller_id,
        "price_cents": order.price_cents,
        "currency": order.currency,
        "expires_at": order.expires_at,
    }
