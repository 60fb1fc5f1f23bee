from __future__ import annotations

from typing import ClassVar

from django.db import models


class Dispute(models.Model):
    """What a buyer's bank says against a payment, as the provider has it: a mirror, no more."""

    TAKEN = frozenset({"needs_response", "under_review", "lost"})
    """The statuses in which the provider has taken the money."""
    OPEN = frozenset({"needs_response", "under_review"})
    LOST = "lost"

    id = models.CharField(primary_key=True, max_length=255, db_column="_id")
    """The provider's (dp_…, du_…)."""
    order_id = models.CharField(max_length=64)
    payment_id = models.CharField(max_length=64)
    amount_cents = models.BigIntegerField(default=0)
    currency = models.CharField(max_length=3)
    reason = models.CharField(max_length=64, default="", blank=True)
    status = models.CharField(max_length=64, default="", blank=True)
    """The provider's word; empty until the provider has been asked."""
    changes = models.PositiveIntegerField(default=0)
    """How often the provider changed it."""
    evidence_due_at = models.DateTimeField(null=True, blank=True)
    opened_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    settle_at = models.DateTimeField(null=True, blank=True)
    """When the provider must be asked about it; empty when nothing new is known to be there."""
    settle_tries = models.PositiveIntegerField(default=0)
    last_error = models.TextField(default="", blank=True)
    causation_id = models.CharField(max_length=64, default="", blank=True)
    """The event that told of the last webhook about it."""

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["payment_id"], name="payments_dispute_payment"),
            models.Index(fields=["order_id"], name="payments_dispute_order"),
            models.Index(fields=["settle_at"], name="payments_dispute_settle"),
            models.Index(fields=["opened_at"], name="payments_dispute_time"),
        ]

    def __str__(self) -> str:
        return self.id

    @property
    def is_open(self) -> bool:
        return self.status in self.OPEN

    @property
    def is_lost(self) -> bool:
        """The bank has given the money back to the buyer."""
        return self.status == self.LOST

    @property
    def taken_cents(self) -> int:
        """What the provider has taken for it and not returned."""
        return self.amount_cents if self.status in self.TAKEN else 0
