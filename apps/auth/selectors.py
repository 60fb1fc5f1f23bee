"""Reads of users and of mails."""

from __future__ import annotations

from datetime import datetime

from bson import ObjectId
from bson.errors import InvalidId

from apps.auth.models import Mail, User, normalize_email
from apps.core.errors import NotSignedIn


def find_user(*, user_id: str) -> User | None:
    """Return the user of this id, closed accounts included; None for a malformed id too."""
    try:
        key = ObjectId(user_id)
    except InvalidId:
        return None
    return User.objects.filter(pk=key).first()


def find_user_by_email(*, email: str) -> User | None:
    """Return the user of this address, however it is written."""
    return User.objects.filter(email=normalize_email(email)).first()


def get_active_user(*, user_id: str) -> User:
    """Return the user whom a token names.

    Raises:
        NotSignedIn: the account is gone or closed, so the token stands for nobody.
    """
    user = find_user(user_id=user_id)
    if user is None or not user.is_active:
        raise NotSignedIn
    return user


def list_mails_to_send(*, now: datetime, limit: int) -> list[Mail]:
    """Return the mails that are due, the longest due first."""
    return list(Mail.objects.filter(due_at__lte=now).order_by("due_at")[:limit])


def list_mails_of_order(*, order_id: str) -> list[Mail]:
    """Return every mail about an order, in the order of their events' arrival."""
    return sorted(Mail.objects.filter(order_id=order_id), key=lambda mail: mail.queued_at)
