from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.db import models

from apps.core.errors import Conflict


class OrderAlreadyPaid(Conflict):
    code = "order_already_paid"

    def __init__(self) -> None:
        super().__init__("Order is already paid")


class OrderCancelledAlready(Conflict):
    code = "order_cancelled"

    def __init__(self) -> None:
        super().__init__("Cannot pay for a cancelled order")


class OrderExpiredAlready(Conflict):
    code = "order_expired"

    def __init__(self) -> None:
        super().__init__("The reservation has expired. Nothing was charged")


class TransitionRefused(Conflict):
    """The payment is not in a state from which this step leads anywhere."""

    code = "transition_refused"


class Payment(models.Model):
    """What is to be paid for one order, and how far that is: the aggregate of this service.

    The transitions below are the only writers of `state`; each guards its rule. Whoever publishes
    a fact about the payment takes its number from `count_fact`, so that the versions of an
    order's events have no gaps.
    """

    class State(models.TextChoices):
        OPEN = "open", "may be paid"
        CLOSING = "closing", "ends when its open attempt is settled"
        CLOSED = "closed", "cannot be paid any more"
        PAID = "paid", "paid"
        REFUNDED = "refunded", "refunded"

    class Reason(models.TextChoices):
        """Why nothing more may be paid."""

        EXPIRED = "expired", "the time to pay ran out"
        CANCELLED = "cancelled", "the order was cancelled"

    order_id = models.CharField(primary_key=True, max_length=64, db_column="_id")
    buyer_id = models.CharField(max_length=64)
    ticket_id = models.CharField(max_length=64)
    ticket_title = models.TextField()
    amount_cents = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    expires_at = models.DateTimeField()
    state = models.CharField(max_length=16, choices=State, default=State.OPEN)
    closed_because = models.CharField(max_length=16, choices=Reason, default="", blank=True)
    version = models.BigIntegerField(default=0)
    """How many events of this payment were published; the number of the last."""
    revision = models.BigIntegerField(default=0)
    """One more with each write, of which not every one is a fact for others."""
    attempts = models.PositiveIntegerField(default=0)
    active_payment_id = models.CharField(max_length=64, default="", blank=True)
    """The one attempt whose outcome is open."""
    paid_payment_id = models.CharField(max_length=64, default="", blank=True)
    traceparent = models.CharField(max_length=64, default="", blank=True)
    """The order's trace, to which all that is told of its payment belongs."""
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["created_at"], name="payments_by_time")]

    def __str__(self) -> str:
        return self.order_id

    @property
    def is_paid(self) -> bool:
        return self.state in {self.State.PAID, self.State.REFUNDED}

    @property
    def is_ending(self) -> bool:
        return self.state in {self.State.CLOSING, self.State.CLOSED}

    def refuse_unless_payable(self, now: datetime) -> None:
        """Say why nothing may be paid.

        Raises:
            OrderAlreadyPaid, OrderCancelledAlready, OrderExpiredAlready: what the name says.
        """
        if self.is_paid:
            raise OrderAlreadyPaid
        if self.is_ending and self.closed_because == self.Reason.CANCELLED:
            raise OrderCancelledAlready
        if self.is_ending or now >= self.expires_at:
            raise OrderExpiredAlready

    def begin_attempt(self, payment_id: str, now: datetime) -> None:
        """An attempt begins. There is at most one whose outcome is open."""
        self.refuse_unless_payable(now)
        if self.active_payment_id:
            raise TransitionRefused("An attempt is open already.")
        self.attempts += 1
        self.active_payment_id = payment_id

    def succeed(self, payment_id: str) -> None:
        """Money arrived: from the open attempt, or late from one that was given up."""
        if self.state != self.State.REFUNDED:
            self.state = self.State.PAID
        self.paid_payment_id = self.paid_payment_id or payment_id
        self._end_attempt(payment_id)

    def fail(self, payment_id: str) -> None:
        """The open attempt ended without money."""
        if self.active_payment_id != payment_id:
            raise TransitionRefused("Only the open attempt can fail.")
        self._end_attempt(payment_id)

    def succeed_otherwise(self, payment_id: str) -> None:
        """Other money arrived than was asked for, which pays nothing and goes back."""
        self._end_attempt(payment_id)

    def stop(self, reason: Payment.Reason) -> None:
        """Let no further attempt begin."""
        if self.state != self.State.OPEN:
            raise TransitionRefused(
                f"Only an open payment is stopped, not one that is {self.state}"
            )
        self.state = self.State.CLOSING
        self.closed_because = reason

    def close(self) -> None:
        """Nothing was paid, and nothing can be any more."""
        if self.state != self.State.CLOSING or self.active_payment_id:
            raise TransitionRefused("An attempt is open, or the payment was not stopped.")
        self.state = self.State.CLOSED

    def refund(self, payment_id: str) -> None:
        """All the money of an attempt went back; the order's own, or a surplus."""
        if payment_id == self.paid_payment_id:
            self.state = self.State.REFUNDED

    def unrefund(self, payment_id: str) -> None:
        """Money of an attempt did not go back after all."""
        if payment_id == self.paid_payment_id:
            self.state = self.State.PAID

    def count_fact(self) -> int:
        """Return the version of the next event of this payment."""
        self.version += 1
        return self.version

    def _end_attempt(self, payment_id: str) -> None:
        if self.active_payment_id == payment_id:
            self.active_payment_id = ""
