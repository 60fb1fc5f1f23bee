"""People who can sign in. No other service has this table."""

from __future__ import annotations

import unicodedata
from typing import ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models

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
