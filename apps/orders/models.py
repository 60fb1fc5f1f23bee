from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, ClassVar

import uuid6
from django.db import models
from django.db.models import Q

from apps.core.errors import Conflict

if TYPE_CHECKING:
    from datetime import datetime, timedelta


class OrderAlreadyPaid(Conflict):
    code = "order_already_paid"

    def __init__(self) -> None:
        super().__init__("A paid order cannot be cancelled")


class CancellationOver(Conflict):
    code = "cancellation_over"

    def __init__(self) -> None:
        super().__init__("The time in which a paid order could be cancelled is over")


class TicketUsed(Conflict):
    """Somebody went in with it."""

    code = "ticket_used"

    def __init__(self) -> None:
        super().__init__("The ticket was used, so the order cannot be cancelled")


class TransitionRefused(Conflict):
    """The order is not in a state from which this step leads anywhere."""

    code = "transition_refused"


class Order(models.Model):
    """A buyer's claim on one ticket, from the reservation to its end.

    The transitions below are the only writers of `status`. Each holds its rule, raises the
    version by one and is followed by exactly one event, so the versions of an order's events have
    no gaps. Whoever calls one has locked the row.
    """

    class Status(models.TextChoices):
        CREATED = "created", "Reserved"
        AWAITING_PAYMENT = "awaiting_payment", "Awaiting payment"
        COMPLETE = "complete", "Paid"
        CANCELLED = "cancelled", "Cancelled"

    class CancelReason(models.TextChoices):
        BUYER = "buyer", "by the buyer"
        EXPIRED = "expired", "not paid in time"
        REFUNDED = "refunded", "all of the money went back"

    OPEN = (Status.CREATED, Status.AWAITING_PAYMENT)
    """May still be paid, or end unpaid."""
    CLAIMING = (*OPEN, Status.COMPLETE)
    """Nobody else may have the ticket."""

    id = models.UUIDField(primary_key=True, default=uuid6.uuid7, editable=False)
    buyer_id = models.CharField(max_length=64)
    status = models.CharField(max_length=20, choices=Status, default=Status.CREATED)
    version = models.PositiveIntegerField(default=1)

    # The ticket as it was when it was reserved: what the buyer agreed to pay, and for what.
    ticket_id = models.CharField(max_length=64)
    ticket_title = models.TextField()
    ticket_version = models.BigIntegerField()
    seller_id = models.CharField(max_length=64)
    price_cents = models.BigIntegerField()
    currency = models.CharField(max_length=3)

    traceparent = models.CharField(max_length=64, default="", blank=True)
    """Of the request that reserved it: whatever is told of the order later is in its trace."""
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    expired_at = models.DateTimeField(null=True, blank=True)
    """When the time to pay ran out. The claim outlives it until payments has closed."""
    completed_at = models.DateTimeField(null=True, blank=True)
    payment_id = models.CharField(max_length=64, blank=True)
    """The attempt that paid."""
    used_at = models.DateTimeField(null=True, blank=True)
    """When the seller let the bearer of the ticket in."""
    cancelled_at = models.DateTimeField(null=True, blank=True)
    cancel_reason = models.CharField(max_length=16, choices=CancelReason, blank=True)

    # What the buyer's page says of the payment. No rule rests on these but the last.
    payment_version = models.BigIntegerField(default=0)
    open_payment_id = models.CharField(max_length=64, blank=True)
    payment_failure = models.TextField(blank=True)
    payment_closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["ticket_id"],
                condition=Q(status__in=["created", "awaiting_payment", "complete"]),
                name="orders_one_claim_per_ticket",
            ),
            models.CheckConstraint(
                condition=Q(status__in=["created", "awaiting_payment", "complete", "cancelled"]),
                name="orders_status_known",
            ),
            models.CheckConstraint(
                condition=~Q(status="complete") | ~Q(payment_id=""),
                name="orders_complete_has_payment",
            ),
            models.CheckConstraint(
                condition=~Q(status="cancelled") | Q(cancelled_at__isnull=False),
                name="orders_cancelled_has_time",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["buyer_id", "created_at", "id"], name="orders_of_buyer"),
            models.Index(fields=["created_at"], name="orders_by_time"),
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def is_open(self) -> bool:
        return self.status in self.OPEN

    @property
    def is_cancelled(self) -> bool:
        return self.status == self.Status.CANCELLED

    @property
    def is_complete(self) -> bool:
        return self.status == self.Status.COMPLETE

    @property
    def is_over(self) -> bool:
        """The time to pay ran out and payments says that nothing can be paid any more."""
        return self.is_open and self.expired_at is not None and self.payment_closed_at is not None

    @property
    def was_revived(self) -> bool:
        """Paid after it was cancelled, while the ticket was still free."""
        return self.is_complete and self.cancelled_at is not None

    @property
    def was_returned(self) -> bool:
        """Paid, and cancelled by the buyer all the same."""
        return self.is_cancelled and self.was_paid and self.cancel_reason == self.CancelReason.BUYER

    @property
    def was_paid(self) -> bool:
        """Paid once, whatever became of it since."""
        return bool(self.payment_id)

    def await_payment(self) -> None:
        """An attempt to pay began."""
        if self.status != self.Status.CREATED:
            raise TransitionRefused(f"Only a reserved order awaits a payment, not {self.status}.")
        self.status = self.Status.AWAITING_PAYMENT
        self.version += 1

    def complete(self, *, payment_id: str, now: datetime) -> None:
        """The order is paid, also when its time ran out meanwhile: the claim still stands."""
        if not self.is_open:
            raise TransitionRefused(f"Only an open order is completed, not {self.status}.")
        self._end_paid(payment_id, now)

    def revive(self, *, payment_id: str, now: datetime) -> None:
        """A payment arrived after the order was cancelled, and the ticket is still free.

        The caller holds the lock on the ticket's copy and has seen that nobody claims it.
        """
        if not self.is_cancelled or self.was_paid:
            raise TransitionRefused(f"Only one cancelled unpaid is revived, not {self.status}.")
        self._end_paid(payment_id, now)

    def expire(self, *, now: datetime) -> None:
        """The time to pay ran out. The claim stands until payments has closed."""
        if not self.is_open or self.expired_at is not None:
            raise TransitionRefused("Only an open order expires, and only once.")
        self.expired_at = now
        self.version += 1

    def cancel(self, *, reason: Order.CancelReason, now: datetime) -> None:
        """The order ends unpaid, and its claim with it.

        Raises:
            OrderAlreadyPaid: money was taken for it.
            TransitionRefused: it was cancelled before.
        """
        if self.is_complete:
            raise OrderAlreadyPaid
        if not self.is_open:
            raise TransitionRefused("The order was cancelled before.")
        self.status = self.Status.CANCELLED
        self.cancelled_at = now
        self.cancel_reason = reason
        self.version += 1

    def refuse_unless_returnable(self, *, within: timedelta, now: datetime) -> None:
        """Say why the buyer may not give a paid ticket back.

        Raises:
            TicketUsed: somebody went in with it.
            OrderAlreadyPaid: paid is paid, here.
            CancellationOver: it could be, for so long after the payment.
        """
        if self.used_at is not None:
            raise TicketUsed
        until = self.returnable_until(within)
        if until is None:
            raise OrderAlreadyPaid
        if now >= until:
            raise CancellationOver

    def returnable_until(self, within: timedelta) -> datetime | None:
        """Tell until when the buyer may give a paid ticket back; None if it is never."""
        if not within or not self.is_complete or self.completed_at is None or self.used_at:
            return None
        return self.completed_at + within

    def use(self, *, now: datetime) -> None:
        """The bearer of the ticket goes in. That is no fact for others, and no new version."""
        if not self.is_complete or self.used_at is not None:
            raise TransitionRefused("Only a paid ticket lets somebody in, and only once.")
        self.used_at = now

    def cancel_paid(self, *, reason: Order.CancelReason, now: datetime) -> None:
        """A paid order ends, and its claim with it; the money goes back, or went already.

        It keeps its `payment_id`, and so is never revived: what is paid for it later is too much.
        """
        if not self.is_complete:
            raise TransitionRefused(f"Only a paid order ends paid, not {self.status}.")
        self.status = self.Status.CANCELLED
        self.cancelled_at = now
        self.cancel_reason = reason
        self.version += 1

    def request_refund(self) -> None:
        """Money arrived that this order cannot keep. Its status stays; the fact is counted."""
        self.version += 1

    def _end_paid(self, payment_id: str, now: datetime) -> None:
        self.status = self.Status.COMPLETE
        self.payment_id = payment_id
        self.completed_at = now
        self.version += 1


class Refund(models.Model):
    """Money of one attempt to pay that goes, or went, back to the buyer: all of it, or a part."""

    SYSTEM = "system"
    """Orders asked for it, since it cannot keep the money."""
    BUYER = "buyer"
    OURS = (SYSTEM, BUYER)
    """Orders asked for it: for all of the attempt, and once."""

    id = models.UUIDField(primary_key=True, default=uuid6.uuid7, editable=False)
    """Its id in payments, too."""
    payment_id = models.CharField(max_length=64)
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="refunds")
    amount_cents = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    reason = models.TextField()
    requested_by = models.CharField(max_length=320, blank=True)
    """One of OURS; or whom payments names; empty in events of before it named anybody."""
    requested_at = models.DateTimeField(null=True, blank=True)
    """When it was asked for; empty when it was given without being asked for."""
    refunded_at = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True)
    """When it came to nothing, maybe after it was given: the money is not with the buyer."""

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["order", "payment_id"],
                condition=Q(requested_by__in=["system", "buyer"]),
                name="orders_one_own_refund_per_payment",
            ),
        ]

    def __str__(self) -> str:
        return self.payment_id

    @property
    def is_on_its_way(self) -> bool:
        return self.refunded_at is None and self.failed_at is None


class TimelineEntry(models.Model):
    """An event about an order: one that orders published, or read from another service."""

    event_id = models.CharField(primary_key=True, max_length=64)
    # No constraint in the database: checking it would lock the order, after what handlers lock.
    order = models.ForeignKey(
        Order, on_delete=models.PROTECT, related_name="timeline", db_constraint=False
    )
    type = models.CharField(max_length=255)
    version = models.BigIntegerField()
    """Of the aggregate that it is an event of: the order, its payment, a mail …"""
    occurred_at = models.DateTimeField()
    """By the clock of whoever published it."""
    noted_at = models.DateTimeField()
    correlation_id = models.CharField(max_length=128, blank=True)
    causation_id = models.CharField(max_length=64, blank=True)
    """The event that caused it; empty where a person or a clock did."""
    trace_id = models.CharField(max_length=32, blank=True)
    headers = models.JSONField(default=dict)
    facts = models.JSONField(default=dict)
    """Its fields, as far as orders reads them."""
    place = models.CharField(max_length=320, blank=True)
    """<topic>/<partition>/<offset> where it was read; empty for what orders published."""

    class Meta:
        verbose_name_plural = "timeline entries"

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"

    @property
    def source(self) -> str:
        """The service that it came from: ticketing.<service>.<subject>.<action>.v1."""
        return self.type.split(".")[1]


class TicketCopy(models.Model):
    """What orders knows of a ticket: a replica fed by the events of tickets, maybe behind them."""

    ticket_id = models.CharField(primary_key=True, max_length=64)
    version = models.BigIntegerField()
    title = models.TextField()
    price_cents = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    seller_id = models.CharField(max_length=64)
    order_id = models.CharField(max_length=64, blank=True)
    """The order that holds the ticket in the eyes of tickets; empty while it is free there."""
    is_withdrawn = models.BooleanField(default=False)

    class Meta:
        verbose_name = "ticket copy"
        verbose_name_plural = "ticket copies"

    def __str__(self) -> str:
        return self.title


def parse_order_id(text: str) -> uuid.UUID | None:
    """Return the id in its canonical form only: anything else names no order."""
    try:
        parsed = uuid.UUID(text)
    except ValueError:
        return None
    return parsed if str(parsed) == text.lower() else None
