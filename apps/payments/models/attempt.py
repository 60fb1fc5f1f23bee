from __future__ import annotations

from datetime import datetime
from typing import ClassVar

import uuid6
from django.db import models
from django.db.models import Q

from apps.outbox.context import Trace
from apps.payments.models.payment import TransitionRefused


class PaymentAttempt(models.Model):
    """One attempt to pay: one intent at the provider, one set of idempotency keys."""

    class Status(models.TextChoices):
        PENDING = "pending", "outcome unknown"
        SUCCEEDED = "succeeded", "succeeded"
        FAILED = "failed", "failed"
        REFUNDED = "refunded", "refunded in full"

    id = models.UUIDField(primary_key=True, db_column="_id", default=uuid6.uuid7)
    order_id = models.CharField(max_length=64)
    attempt = models.PositiveIntegerField()
    buyer_id = models.CharField(max_length=64)
    amount_cents = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    method = models.CharField(max_length=255)
    """What stands for a card at the provider (tok_…, pm_…, ctoken_…), never a card itself."""
    status = models.CharField(max_length=16, choices=Status, default=Status.PENDING)
    intent_id = models.CharField(max_length=255, default="", blank=True)
    """The provider's payment intent. Written before it is confirmed: without it, no money moved."""
    action_url = models.TextField(default="", blank=True)
    """Where the buyer confirms it with the bank (3-D Secure); empty where that is not asked for."""
    failure_code = models.CharField(max_length=64, default="", blank=True)
    failure_message = models.TextField(default="", blank=True)
    promised_cents = models.BigIntegerField(default=0)
    """What its refunds give back or have given back: never more than was paid."""
    refunded_cents = models.BigIntegerField(default=0)
    """What of it has gone back."""
    disputed_cents = models.BigIntegerField(default=0)
    """What a bank has taken back by disputes, and not returned."""
    refund_reason = models.TextField(default="", blank=True)
    """Why the last refund was promised, in words for the buyer."""
    started_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)
    refunded_at = models.DateTimeField(null=True, blank=True)
    settle_at = models.DateTimeField(null=True, blank=True)
    """When the settler must look after it; empty when there is nothing left to do."""
    settle_tries = models.PositiveIntegerField(default=0)
    refund_at = models.DateTimeField(null=True, blank=True)
    """When the settler must look after its refunds; empty when there is nothing left to do."""
    refund_tries = models.PositiveIntegerField(default=0)
    last_error = models.TextField(default="", blank=True)
    correlation_id = models.CharField(max_length=128, default="", blank=True)
    """The request that began it, which the events of a later settlement belong to as well."""
    causation_id = models.CharField(max_length=64, default="", blank=True)
    """The last event that had it looked after, and so causes what comes of it."""
    traceparent = models.CharField(max_length=64, default="", blank=True)
    """Where in the order's trace it began."""

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["order_id", "attempt"], name="payments_attempt_number"),
            models.UniqueConstraint(
                fields=["order_id"], condition=Q(status="pending"), name="payments_one_open_attempt"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["settle_at"], name="payments_settle"),
            models.Index(fields=["refund_at"], name="payments_attempt_refund"),
            models.Index(fields=["intent_id"], name="payments_intent"),
            models.Index(fields=["started_at"], name="payments_attempt_time"),
        ]

    def __str__(self) -> str:
        return f"{self.order_id}:{self.attempt}"

    @property
    def trace(self) -> Trace:
        """What its settlement belongs to, whenever that is."""
        return Trace(
            correlation_id=self.correlation_id,
            causation_id=self.causation_id,
            traceparent=self.traceparent,
        )

    @property
    def key(self) -> str:
        """The root of the idempotency keys: order:attempt."""
        return f"{self.order_id}:{self.attempt}"

    @property
    def is_pending(self) -> bool:
        return self.status == self.Status.PENDING

    @property
    def awaits_buyer(self) -> bool:
        """The bank wants the buyer to confirm it."""
        return self.is_pending and bool(self.action_url)

    def is_with_settler(self, now: datetime) -> bool:
        """The one who began it is done, dead or too late: the settler asks the provider."""
        return self.settle_tries > 0 or (self.settle_at is not None and self.settle_at <= now)

    @property
    def is_paid(self) -> bool:
        """The provider has taken the money, whether or not it went back since."""
        return self.status in {self.Status.SUCCEEDED, self.Status.REFUNDED}

    @property
    def is_of_no_use(self) -> bool:
        """The order was not paid by it: it failed, or took other money than was asked for."""
        return self.status == self.Status.FAILED or bool(self.failure_code)

    @property
    def returning_cents(self) -> int:
        """What is on its way back."""
        return self.promised_cents - self.refunded_cents

    @property
    def is_refund_due(self) -> bool:
        return self.returning_cents > 0

    @property
    def unpromised_cents(self) -> int:
        """What no refund gives back yet."""
        return self.amount_cents - self.promised_cents if self.is_paid else 0

    @property
    def refundable_cents(self) -> int:
        """What a new refund may give back: neither promised before nor taken by a bank."""
        return max(0, self.unpromised_cents - self.disputed_cents)

    def succeed(self, now: datetime) -> None:
        """The provider has the money. Also after a failure was recorded: money is never lost."""
        if self.status not in {self.Status.PENDING, self.Status.FAILED}:
            raise TransitionRefused(f"An attempt that is {self.status} cannot succeed.")
        self.status = self.Status.SUCCEEDED
        self.failure_code = self.failure_message = ""
        self._decide(now)

    def succeed_otherwise(
        self, amount_cents: int, currency: str, why: tuple[str, str], now: datetime
    ) -> None:
        """The provider has other money than was asked for. It is what this attempt is about now."""
        self.succeed(now)
        self.amount_cents, self.currency = amount_cents, currency
        self.failure_code, self.failure_message = why

    def fail(self, code: str, message: str, now: datetime) -> None:
        if not self.is_pending:
            raise TransitionRefused(f"An attempt that is {self.status} cannot fail.")
        self.status = self.Status.FAILED
        self.failure_code, self.failure_message = code, message
        self._decide(now)

    def promise_refund(self, cents: int, reason: str, now: datetime) -> None:
        """So much must go back; the settler sees to it."""
        if not 0 < cents <= self.unpromised_cents:
            raise TransitionRefused(f"{cents} cannot be given back of an attempt {self.status}.")
        self.promised_cents += cents
        self.refund_reason = reason
        self.refund_at, self.refund_tries = now, 0

    def unpromise_refund(self, cents: int) -> None:
        """A refund, or a part of it, will not be given."""
        self.promised_cents -= cents

    def refund(self, cents: int, now: datetime) -> None:
        """So much of what was promised went back."""
        self.refunded_cents += cents
        self.refunded_at = now
        if self.refunded_cents >= self.amount_cents:
            self.status = self.Status.REFUNDED

    def unrefund(self, cents: int) -> None:
        """A refund that was told as done failed after all."""
        self.refunded_cents -= cents
        self.status = self.Status.SUCCEEDED

    def _decide(self, now: datetime) -> None:
        self.decided_at = now
        self.settle_at, self.last_error = None, ""
