from __future__ import annotations

from datetime import datetime
from typing import ClassVar

import uuid6
from django.db import models
from django.db.models import Q

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
        """The money of an attempt went back; the order's own, or a surplus."""
        if payment_id == self.paid_payment_id:
            self.state = self.State.REFUNDED

    def count_fact(self) -> int:
        """Return the version of the next event of this payment."""
        self.version += 1
        return self.version

    def _end_attempt(self, payment_id: str) -> None:
        if self.active_payment_id == payment_id:
            self.active_payment_id = ""


class PaymentAttempt(models.Model):
    """One attempt to pay: one intent at the provider, one set of idempotency keys."""

    class Status(models.TextChoices):
        PENDING = "pending", "outcome unknown"
        SUCCEEDED = "succeeded", "succeeded"
        FAILED = "failed", "failed"
        REFUND_DUE = "refund_due", "to be refunded"
        REFUNDED = "refunded", "refunded"

    id = models.UUIDField(primary_key=True, db_column="_id", default=uuid6.uuid7)
    order_id = models.CharField(max_length=64)
    attempt = models.PositiveIntegerField()
    buyer_id = models.CharField(max_length=64)
    amount_cents = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    method = models.CharField(max_length=255)
    """The provider's token (tok_…) or payment method (pm_…): a reference, never a card."""
    status = models.CharField(max_length=16, choices=Status, default=Status.PENDING)
    intent_id = models.CharField(max_length=255, default="", blank=True)
    """The provider's payment intent. Written before it is confirmed: without it, no money moved."""
    failure_code = models.CharField(max_length=64, default="", blank=True)
    failure_message = models.TextField(default="", blank=True)
    refund_reason = models.TextField(default="", blank=True)
    refund_id = models.CharField(max_length=255, default="", blank=True)
    started_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)
    refunded_at = models.DateTimeField(null=True, blank=True)
    settle_at = models.DateTimeField(null=True, blank=True)
    """When the settler must look after it; empty when there is nothing left to do."""
    settle_tries = models.PositiveIntegerField(default=0)
    last_error = models.TextField(default="", blank=True)
    correlation_id = models.CharField(max_length=128, default="", blank=True)
    """The request that began it, which the events of a later settlement belong to as well."""

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["order_id", "attempt"], name="payments_attempt_number"),
            models.UniqueConstraint(
                fields=["order_id"], condition=Q(status="pending"), name="payments_one_open_attempt"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["settle_at"], name="payments_settle"),
            models.Index(fields=["intent_id"], name="payments_intent"),
            models.Index(fields=["started_at"], name="payments_attempt_time"),
        ]

    def __str__(self) -> str:
        return f"{self.order_id}:{self.attempt}"

    @property
    def key(self) -> str:
        """The root of the idempotency keys: order:attempt."""
        return f"{self.order_id}:{self.attempt}"

    @property
    def is_pending(self) -> bool:
        return self.status == self.Status.PENDING

    def is_with_settler(self, now: datetime) -> bool:
        """The one who began it is done, dead or too late: the settler asks the provider."""
        return self.settle_tries > 0 or (self.settle_at is not None and self.settle_at <= now)

    @property
    def is_refund_due(self) -> bool:
        return self.status == self.Status.REFUND_DUE

    def succeed(self, now: datetime) -> None:
        """The provider has the money. Also after a failure was recorded: money is never lost."""
        if self.status not in {self.Status.PENDING, self.Status.FAILED}:
            raise TransitionRefused(f"An attempt that is {self.status} cannot succeed.")
        self.status = self.Status.SUCCEEDED
        self.failure_code = self.failure_message = ""
        self._decide(now)

    def fail(self, code: str, message: str, now: datetime) -> None:
        if not self.is_pending:
            raise TransitionRefused(f"An attempt that is {self.status} cannot fail.")
        self.status = self.Status.FAILED
        self.failure_code, self.failure_message = code, message
        self._decide(now)

    def owe_refund(self, reason: str, now: datetime) -> None:
        """The whole amount must go back; the settler sees to it."""
        if self.status != self.Status.SUCCEEDED:
            raise TransitionRefused(f"An attempt that is {self.status} has nothing to refund.")
        self.status = self.Status.REFUND_DUE
        self.refund_reason = reason
        self.settle_at, self.settle_tries = now, 0

    def refund(self, refund_id: str, now: datetime) -> None:
        if not self.is_refund_due:
            raise TransitionRefused(f"An attempt that is {self.status} is not refunded.")
        self.status = self.Status.REFUNDED
        self.refund_id, self.refunded_at = refund_id, now
        self.settle_at, self.last_error = None, ""

    def _decide(self, now: datetime) -> None:
        self.decided_at = now
        self.settle_at, self.last_error = None, ""


class StripeEvent(models.Model):
    """A webhook as it arrived, stored before anything is done about it, and kept."""

    class State(models.TextChoices):
        STORED = "stored", "stored"
        PROCESSED = "processed", "processed"
        IGNORED = "ignored", "of no interest"

    id = models.CharField(primary_key=True, max_length=255, db_column="_id")
    type = models.CharField(max_length=255)
    intent_id = models.CharField(max_length=255, default="", blank=True)
    payment_id = models.CharField(max_length=64, default="", blank=True)
    payload = models.TextField()
    state = models.CharField(max_length=16, choices=State, default=State.STORED)
    created_at = models.DateTimeField()
    """When the provider made it."""
    received_at = models.DateTimeField()
    processed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "webhook"
        indexes: ClassVar = [
            models.Index(fields=["state", "received_at"], name="payments_webhook_state"),
            models.Index(fields=["intent_id"], name="payments_webhook_intent"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.id}"
