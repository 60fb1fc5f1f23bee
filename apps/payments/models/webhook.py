from __future__ import annotations

from typing import ClassVar

from django.db import models


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
