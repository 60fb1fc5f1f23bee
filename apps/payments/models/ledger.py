from __future__ import annotations

from typing import ClassVar

import uuid6
from django.db import models


class LedgerTransaction(models.Model):
    """One movement of money, in double entry: what leaves one account arrives at others.

    Written in the transaction of the state that it belongs to, once (`reference`), and never
    changed: what turns out otherwise is a further movement.
    """

    class Kind(models.TextChoices):
        CHARGE = "charge", "charge"
        REFUND = "refund", "refund"
        REFUND_FAILED = "refund_failed", "refund came back"
        DISPUTE_OPENED = "dispute_opened", "dispute opened"
        DISPUTE_WON = "dispute_won", "dispute won"
        DISPUTE_LOST = "dispute_lost", "dispute lost"

    class Account(models.TextChoices):
        STRIPE_BALANCE = "stripe_balance", "balance at the provider"
        HELD_FOR_ORDERS = "held_for_orders", "held for orders"
        DISPUTED = "disputed", "disputed"

    id = models.UUIDField(primary_key=True, db_column="_id", default=uuid6.uuid7)
    reference = models.CharField(max_length=320)
    """What it records: the kind, and the id of the attempt, refund or dispute."""
    kind = models.CharField(max_length=16, choices=Kind)
    order_id = models.CharField(max_length=64)
    payment_id = models.CharField(max_length=64)
    currency = models.CharField(max_length=3)
    occurred_at = models.DateTimeField()
    lines = models.JSONField()
    """[{"account": …, "cents": …}, …]: debits are positive, and the sum is 0."""

    class Meta:
        verbose_name = "ledger transaction"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["reference"], name="payments_ledger_reference"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["order_id"], name="payments_ledger_order"),
            models.Index(fields=["occurred_at"], name="payments_ledger_time"),
        ]

    def __str__(self) -> str:
        return self.reference
