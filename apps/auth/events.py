"""The events of auth. It reads none."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class UserState:
    """The whole state of a user, as far as others may know it."""

    topic: ClassVar[str] = "ticketing.users"
    namespace: ClassVar[str] = "ticketing.auth"
    aggregate_type: ClassVar[str] = "user"

    user_id: str
    version: int
    email: str
    is_active: bool

    @property
    def aggregate_id(self) -> str:
        return self.user_id


@dataclass(frozen=True, kw_only=True)
class UserRegistered(UserState):
    """A person signed up."""

    type: ClassVar[str] = "ticketing.auth.user.registered.v1"

    registered_at: datetime


@dataclass(frozen=True, kw_only=True)
class UserUpdated(UserState):
    """A user's address or standing changed."""

    type: ClassVar[str] = "ticketing.auth.user.updated.v1"

    updated_at: datetime
