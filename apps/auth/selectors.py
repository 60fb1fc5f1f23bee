"""Reads of users."""

from __future__ import annotations

from bson import ObjectId
from bson.errors import InvalidId

from apps.auth.models import User, normalize_email
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
