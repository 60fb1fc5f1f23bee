"""The only writer of users."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db import IntegrityError
from django.db.models import F

from apps.auth.events import UserRegistered, UserUpdated
from apps.auth.models import User, normalize_email
from apps.auth.selectors import find_user, find_user_by_email, get_active_user
from apps.core.errors import Conflict, Invalid, NotFound, TooOften
from apps.core.identity import Principal, issue_token
from apps.outbox.publish import publish
from apps.outbox.transactions import transactional

log = structlog.get_logger(__name__)


class EmailInUse(Conflict):
    """Somebody has signed up with this address, perhaps in other letters."""

    code = "email_in_use"

    def __init__(self) -> None:
        super().__init__("Email in use", field="email")


class InvalidCredentials(Invalid):
    """Address or password is wrong, or the account is closed: nobody is told which."""

    code = "invalid_credentials"

    def __init__(self) -> None:
        super().__init__("Invalid credentials")


class AccountLocked(TooOften):
    """Too many wrong passwords in a row: for a while not even the right one is looked at.

    That the account exists is no secret: signing up with its address says so too.
    """

    code = "account_locked"

    def __init__(self, seconds: float) -> None:
        minutes = math.ceil(seconds / 60)
        super().__init__(
            "Too many wrong passwords. "
            f"Try again in {minutes} {'minute' if minutes == 1 else 'minutes'}"
        )


class WrongPassword(Invalid):
    """The current password, asked for once more, is wrong."""

    code = "wrong_password"

    def __init__(self) -> None:
        super().__init__("This is not your current password", field="current_password")


def sign_up(*, email: str, password: str, now: datetime) -> User:
    """Register a person. Publishes UserRegistered.

    Raises:
        EmailInUse: the unique index has the address already.
    """
    return _register(email=email, password=password, is_staff=False, now=now)


def create_staff(*, email: str, password: str, now: datetime) -> User:
    """Register a member of staff, who may use every service's admin. Publishes UserRegistered.

    Raises:
        EmailInUse: the unique index has the address already.
    """
    return _register(email=email, password=password, is_staff=True, now=now)


def sign_in(*, email: str, password: str, now: datetime) -> User:
    """Return the user whose address and password these are.

    Raises:
        InvalidCredentials: after the time that a right address with a wrong password takes too.
        AccountLocked: there were too many wrong passwords lately.
    """
    user = find_user_by_email(email=email)
    if user is None:
        make_password(password)
        raise InvalidCredentials
    if user.locked_until is not None and user.is_locked(now):
        raise AccountLocked((user.locked_until - now).total_seconds())
    if not user.check_password(password):
        _count_failure(user, now=now)
        raise InvalidCredentials
    if not user.is_active:
        raise InvalidCredentials
    if user.failed_signins or user.locked_until:
        unlock(user=user)
    return user


def unlock(*, user: User) -> None:
    """Let the account take passwords again, as the right one does by itself."""
    User.objects.filter(pk=user.pk).update(failed_signins=0, locked_until=None)


def _count_failure(user: User, *, now: datetime) -> None:
    """Count a wrong password; with the last one that is allowed, lock the account for a while.

    No event tells of it: no other service takes passwords.
    """
    if not settings.SIGNIN_FAILURES_LIMIT:
        return
    same = User.objects.filter(pk=user.pk)
    same.update(failed_signins=F("failed_signins") + 1)
    if same.filter(failed_signins__gte=settings.SIGNIN_FAILURES_LIMIT).update(
        failed_signins=0, locked_until=now + timedelta(seconds=settings.SIGNIN_LOCK_SECONDS)
    ):
        log.warning("account_locked", user_id=str(user.pk))


def token_for(user: User, *, now: datetime) -> str:
    """Return the token that says to every service who this is."""
    return issue_token(str(user.pk), user.email, user.may_administer, now)


def renew_token(principal: Principal, *, now: datetime) -> str:
    """Return a new token for the bearer of an old one, as the user stands today.

    It is empty when the account is gone or closed. settings.TOKEN_RENEWAL names this function.
    """
    user = find_user(user_id=principal.id)
    return token_for(user, now=now) if user is not None and user.is_active else ""


def change_email(*, user_id: str, email: str, current_password: str, now: datetime) -> User:
    """Let a user sign in with another address from now on. Publishes UserUpdated.

    Raises:
        NotSignedIn: the account is gone or closed.
        WrongPassword: the current password does not fit.
        EmailInUse: the unique index has the address already.
    """
    _check_current_password(user_id, current_password)
    try:
        return _store_email(user_id=user_id, email=normalize_email(email), now=now)
    except IntegrityError as exc:
        raise EmailInUse from exc


def change_password(*, user_id: str, current_password: str, new_password: str) -> User:
    """Let a user sign in with another password from now on; no event, since none may tell.

    Raises:
        NotSignedIn: the account is gone or closed.
        WrongPassword: the current password does not fit.
    """
    user = _check_current_password(user_id, current_password)
    reset_password(user=user, password=new_password)
    return user


def reset_password(*, user: User, password: str) -> None:
    """Set a password without asking for the old one: for operators."""
    user.set_password(password)
    user.save(update_fields=["password"])
    unlock(user=user)


@transactional
def set_active(*, user_id: str, is_active: bool, now: datetime) -> User:
    """Close or reopen an account. Publishes UserUpdated, unless it stands so already.

    Raises:
        NotFound: there is no such user.
        Conflict: the user was changed at the same moment.
    """
    user = _get(user_id)
    if user.is_active == is_active:
        return user
    user.is_active = is_active
    return _store_change(user, now=now)


def set_staff(*, user_id: str, is_staff: bool) -> None:
    """Let a user into the administration, or no longer; no event, since no other service asks.

    Raises:
        NotFound: there is no such user.
    """
    changed = User.objects.filter(pk=user_id).update(is_staff=is_staff, is_superuser=is_staff)
    if not changed:
        raise NotFound


def _register(*, email: str, password: str, is_staff: bool, now: datetime) -> User:
    # Hashing takes long on purpose, and a transaction must not.
    encoded = make_password(password)
    try:
        return _insert(
            email=normalize_email(email), encoded_password=encoded, is_staff=is_staff, now=now
        )
    except IntegrityError as exc:
        raise EmailInUse from exc


@transactional
def _insert(*, email: str, encoded_password: str, is_staff: bool, now: datetime) -> User:
    user = User(
        email=email,
        password=encoded_password,
        is_staff=is_staff,
        is_superuser=is_staff,
        registered_at=now,
    )
    user.save(force_insert=True)
    publish(
        UserRegistered(
            user_id=str(user.pk),
            version=user.version,
            email=user.email,
            is_active=user.is_active,
            registered_at=user.registered_at,
        )
    )
    return user


@transactional
def _store_email(*, user_id: str, email: str, now: datetime) -> User:
    user = get_active_user(user_id=user_id)
    if user.email == email:
        return user
    user.email = email
    return _store_change(user, now=now)


def _store_change(user: User, *, now: datetime) -> User:
    changed = User.objects.filter(pk=user.pk, version=user.version).update(
        email=user.email, is_active=user.is_active, version=user.version + 1
    )
    if changed != 1:
        raise Conflict("The account was changed at the same moment. Please try again.")
    user.version += 1
    publish(
        UserUpdated(
            user_id=str(user.pk),
            version=user.version,
            email=user.email,
            is_active=user.is_active,
            updated_at=now,
        )
    )
    return user


def _check_current_password(user_id: str, password: str) -> User:
    user = get_active_user(user_id=user_id)
    if not user.check_password(password):
        raise WrongPassword
    return user


def _get(user_id: str) -> User:
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        raise NotFound
    return user
