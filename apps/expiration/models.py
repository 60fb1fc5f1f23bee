from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.db import models
from django.db.models import F


class DeadlineSettled(Exception):
    """A deadline that has fired or was forgotten can do neither again."""


class DeadlineNotDue(Exception):
    """A deadline may not fire before its time."""


class Deadline(models.Model):
    """Until when an order can be paid. This document is the truth; Celery's alarm only a hint."""

    class State(models.TextChoices):
        ARMED = "armed", "armed"
        FIRED = "fired", "fired"
        FORGOTTEN = "forgotten", "forgotten"

    order_id = models.CharField(primary_key=True, max_length=64, db_column="_id")
    expires_at = models.DateTimeField()
    state = models.CharField(max_length=16, choices=State, default=State.ARMED)
    version = models.PositiveIntegerField(default=1)
    settled_at = models.DateTimeField(null=True, blank=True)
    """When it fired or was forgotten."""
    correlation_id = models.CharField(max_length=128, default="", blank=True)
    """The request that made the order, which the deadline's event still belongs to."""
    causation_id = models.CharField(max_length=64, default="", blank=True)
    """The event that told of the deadline, which causes the deadline's own."""
    traceparent = models.CharField(max_length=64, default="", blank=True)
    """The order's trace, in which the deadline passes, too."""

    class Meta:
        db_table = "expiration_deadline"
        indexes: ClassVar = [
            models.Index(fields=["state", "expires_at"], name="expiration_overdue"),
        ]

    def __str__(self) -> str:
        return f"{self.order_id} {self.state} {self.expires_at:%Y-%m-%d %H:%M:%S}"

    @property
    def is_armed(self) -> bool:
        return self.state == self.State.ARMED

    def is_due(self, now: datetime) -> bool:
        return self.is_armed and self.expires_at <= now

    def fire(self, *, now: datetime) -> None:
        """Note that the time to pay ran out.

        Raises:
            DeadlineSettled: it has fired, or was forgotten.
            DeadlineNotDue: `now` is before the deadline.
        """
        if self.is_armed and not self.is_due(now):
            message = f"The deadline of order {self.order_id} is {self.expires_at}, not yet {now}."
            raise DeadlineNotDue(message)
        self._settle(self.State.FIRED, now)

    def forget(self, *, now: datetime) -> None:
        """Note that the order ended otherwise, so that nothing is left to expire.

        Raises:
            DeadlineSettled: it has fired, or was forgotten.
        """
        self._settle(self.State.FORGOTTEN, now)

    def _settle(self, state: State, now: datetime) -> None:
        # The condition decides, not the copy in memory: of two workers with the same alarm one
        # matches the document, and the other is told so.
        settled = Deadline.objects.filter(
            pk=self.pk, state=self.State.ARMED, version=self.version
        ).update(state=state, settled_at=now, version=F("version") + 1)
        if not settled:
            message = f"The deadline of order {self.order_id} is not armed any more."
            raise DeadlineSettled(message)
        self.state, self.settled_at, self.version = state, now, self.version + 1
