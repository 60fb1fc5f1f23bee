from __future__ import annotations

from datetime import datetime
from typing import ClassVar

import uuid6
from django.db import models
from django.db.models import Q

from apps.outbox.context import Trace
from apps.payments.models.payment import TransitionRefused


class Refund(models.Model):
    """Money of one attempt that goes, or went, back to the buyer: all of it, or a part.

    What is due, sent and succeeded of an attempt never exceeds what it paid: the attempt counts
    it, in the transaction that writes the refund.
    """

    class State(models.TextChoices):
        DUE = "due", "to be given"
        SENT = "sent", "under way at the provider"
        SUCCEEDED = "succeeded", "given back"
        FAILED = "failed", "failed"

    SYSTEM = "system"
    """The order could not keep the money."""
    BUYER = "buyer"
    PROVIDER = "provider"
    """Given by hand at the provider, and found there."""
    STAFF = "staff:"
    """Followed by the e-mail address of whoever asked for it."""

    id = models.UUIDField(primary_key=True, db_column="_id", default=uuid6.uuid7)
    order_id = models.CharField(max_length=64)
    payment_id = models.CharField(max_length=64)
    amount_cents = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    reason = models.TextField()
    """In words for the buyer."""
    requested_by = models.CharField(max_length=320)
    state = models.CharField(max_length=16, choices=State, default=State.DUE)
    key = models.CharField(max_length=255)
    """Its idempotency key; a new one after a refusal, which the provider keeps under the old."""
    refusals = models.PositiveIntegerField(default=0)
    provider_refund_id = models.CharField(max_length=255, default="", blank=True)
    requested_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)
    """When the provider gave it, or let it fail."""
    last_error = models.TextField(default="", blank=True)
    correlation_id = models.CharField(max_length=128, default="", blank=True)
    causation_id = models.CharField(max_length=64, default="", blank=True)
    """The event that told of the request, which caused whatever comes of it."""
    traceparent = models.CharField(max_length=64, default="", blank=True)
    """Where in the order's trace it was promised."""

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["key"], name="payments_refund_key"),
            models.UniqueConstraint(
                fields=["provider_refund_id"],
                condition=Q(provider_refund_id__gt=""),
                name="payments_refund_at_provider",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["payment_id"], name="payments_refund_payment"),
            models.Index(fields=["order_id"], name="payments_refund_order"),
            models.Index(fields=["requested_at"], name="payments_refund_time"),
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def trace(self) -> Trace:
        """What its settlement belongs to, whenever that is."""
        return Trace(
            correlation_id=self.correlation_id,
            causation_id=self.causation_id,
            traceparent=self.traceparent,
        )

    @property
    def is_open(self) -> bool:
        return self.state in {self.State.DUE, self.State.SENT}

    @property
    def is_owed(self) -> bool:
        """The buyer is to have all of the money back, whatever is left of it."""
        return self.requested_by in {self.SYSTEM, self.BUYER}

    def send(self, provider_refund_id: str) -> None:
        """The provider has accepted it."""
        if self.state != self.State.DUE:
            raise TransitionRefused(f"A refund that is {self.state} is not sent.")
        self.state = self.State.SENT
        self.provider_refund_id = provider_refund_id
        self.last_error = ""

    def succeed(self, now: datetime) -> None:
        if self.state != self.State.SENT:
            raise TransitionRefused(f"A refund that is {self.state} does not succeed.")
        self.state, self.decided_at = self.State.SUCCEEDED, now

    def fail(self, why: str, now: datetime) -> None:
        """It comes to nothing. A bank may send the money back long after it was given."""
        if self.state == self.State.FAILED:
            raise TransitionRefused("The refund failed before.")
        self.state, self.decided_at, self.last_error = self.State.FAILED, now, why

    def shrink(self, cents: int) -> None:
        """Give so much less, since it went back another way."""
        if self.state != self.State.DUE or not 0 < cents < self.amount_cents:
            raise TransitionRefused("Only a refund that is due becomes smaller.")
        self.amount_cents -= cents
        self.change_key()

    def refuse(self, why: str) -> None:
        """The provider said no, and nothing happened; it is asked again."""
        self.last_error = why
        self.change_key()

    def change_key(self) -> None:
        """Ask anew: the provider answers the same to the same key, for a day."""
        root = self.key.removesuffix(f"/{self.refusals}")
        self.refusals += 1
        self.key = f"{root}/{self.refusals}"
