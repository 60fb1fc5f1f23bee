from __future__ import annotations

from datetime import datetime
from typing import ClassVar

import uuid6
from django.db import models
from django.db.models import Q

from apps.payments.models.payment import TransitionRefused


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
