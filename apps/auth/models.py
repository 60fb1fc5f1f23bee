"""People who can sign in, and the mails to them. No other service knows anybody's address."""

from __future__ import annotations

import unicodedata
from datetime import datetime, timedelta
from typing import ClassVar

import uuid6
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models

from apps.outbox.context import Trace

SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 128
LONGEST_EMAIL = 254


def normalize_email(email: str) -> str:
    """Return the one form in which an address is stored and looked up: trimmed, in lower case."""
    return unicodedata.normalize("NFKC", email).strip().lower()


class UserManager(BaseUserManager["User"]):
    """Looks users up by address, however it is written. Users are made by services alone."""

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email=normalize_email(username or ""))


class User(AbstractBaseUser, PermissionsMixin):
    """A person, or a member of staff."""

    email = models.EmailField(max_length=LONGEST_EMAIL, unique=True)
    """Normalised: the unique index on it is what makes addresses one user whatever their case."""
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    version = models.BigIntegerField(default=1)
    registered_at = models.DateTimeField()
    failed_signins = models.PositiveIntegerField(default=0)
    """Wrong passwords since the last right one, or since the account was last locked."""
    locked_until = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"

    class Meta:
        db_table = "accounts_user"
        indexes: ClassVar = [
            models.Index(fields=["-registered_at"], name="accounts_user_newest"),
        ]

    def __str__(self) -> str:
        return self.email

    @property
    def may_administer(self) -> bool:
        """What the token's staff claim says."""
        return self.is_active and self.is_staff

    def is_locked(self, now: datetime) -> bool:
        """Whether no password is taken just now, after too many wrong ones."""
        return self.locked_until is not None and now < self.locked_until


class Mail(models.Model):
    """A mail to a person, from the event that asks for it to the server that took it.

    The transitions below are the only writers of `state`. Each writes on the condition that nobody
    has tried since, and says whether it did: a mailer that was too slow changes nothing.
    """

    class Kind(models.TextChoices):
        RESERVED = "reserved", "reserved"
        PAID = "paid", "paid, with the ticket"
        EXPIRED = "expired", "expired"
        CANCELLED = "cancelled", "cancelled"
        REFUNDED = "refunded", "refunded"

    class State(models.TextChoices):
        QUEUED = "queued", "waits"
        SENDING = "sending", "is being sent"
        SENT = "sent", "sent"
        GIVEN_UP = "given_up", "given up"

    id = models.UUIDField(primary_key=True, db_column="_id", default=uuid6.uuid7)
    """The Message-ID is made of it, so that a mail sent twice is seen as one."""
    event_id = models.CharField(max_length=64)
    kind = models.CharField(max_length=16, choices=Kind)
    order_id = models.CharField(max_length=64)
    user_id = models.CharField(max_length=64)
    facts = models.JSONField(default=dict)
    """What the letter is written from: the event's fields."""
    state = models.CharField(max_length=16, choices=State, default=State.QUEUED)
    due_at = models.DateTimeField(null=True, blank=True)
    """When it may be tried; while it is being sent, when its mailer is taken for dead."""
    attempts = models.PositiveIntegerField(default=0)
    trying_since = models.DateTimeField()
    """When it was queued, or told to be tried again."""
    queued_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, blank=True)
    # As it was sent, or would have been.
    recipient = models.CharField(max_length=LONGEST_EMAIL, default="", blank=True)
    subject = models.TextField(default="", blank=True)
    text = models.TextField(default="", blank=True)
    html = models.TextField(default="", blank=True)
    last_error = models.TextField(default="", blank=True)
    correlation_id = models.CharField(max_length=128, default="", blank=True)
    """The request that the order began with, which what is logged of the mail belongs to."""
    traceparent = models.CharField(max_length=64, default="", blank=True)
    """The order's trace, in which the mail is sent, too."""

    class Meta:
        db_table = "accounts_mail"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["event_id", "kind"], name="accounts_mail_once"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["due_at"], name="accounts_mail_due"),
            models.Index(fields=["order_id"], name="accounts_mail_order"),
            models.Index(fields=["state"], name="accounts_mail_state"),
            models.Index(fields=["-queued_at"], name="accounts_mail_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"

    @property
    def trace(self) -> Trace:
        """What sending it belongs to, whenever that is."""
        return Trace(
            correlation_id=self.correlation_id,
            causation_id=self.event_id,
            traceparent=self.traceparent,
        )

    def claim(self, *, now: datetime, until: datetime) -> bool:
        """Take the mail for this mailer, unless another has it; tell whether that succeeded."""
        return self._write(
            models.Q(due_at__lte=now),
            state=self.State.SENDING,
            attempts=self.attempts + 1,
            due_at=until,
        )

    def compose(self, *, subject: str, text: str, html: str) -> bool:
        """Keep the words: every further attempt sends the same."""
        return self._write(subject=subject, text=text, html=html)

    def address(self, *, recipient: str) -> bool:
        """Note whom this attempt is sent to."""
        return self._write(recipient=recipient)

    def arrive(self, *, now: datetime) -> bool:
        """The mail server took it."""
        return self._write(state=self.State.SENT, due_at=None, sent_at=now, last_error="")

    def put_off(self, *, why: str, until: datetime) -> bool:
        """It could not be sent; it is tried again later."""
        return self._write(state=self.State.QUEUED, due_at=until, last_error=why)

    def give_up(self, *, why: str) -> bool:
        """It is not tried again until somebody says so."""
        return self._write(state=self.State.GIVEN_UP, due_at=None, last_error=why)

    def try_again(self, *, now: datetime) -> bool:
        """Somebody wants it tried now: one that was given up, or that waits for its next time."""
        return self._write(
            models.Q(state__in=(self.State.GIVEN_UP, self.State.QUEUED)),
            state=self.State.QUEUED,
            due_at=now,
            trying_since=now,
        )

    def is_too_old(self, *, now: datetime, limit: timedelta) -> bool:
        return now - self.trying_since > limit

    def _write(self, *conditions: models.Q, **values: object) -> bool:
        unchanged = Mail.objects.filter(*conditions, pk=self.pk, attempts=self.attempts)
        if not unchanged.exclude(state=self.State.SENT).update(**values):
            return False
        for name, value in values.items():
            setattr(self, name, value)
        return True
