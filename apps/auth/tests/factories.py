"""Users to test with, made by the same services that make real ones."""

from __future__ import annotations

from uuid import uuid4

from django.utils import timezone

from apps.auth import services

PASSWORD = "correct horse battery"


def new_email():
    return f"{uuid4().hex}@example.com"


def make_user(*, email="", password=PASSWORD, is_active=True, now=None):
    now = now or timezone.now()
    user = services.sign_up(email=email or new_email(), password=password, now=now)
    if not is_active:
        user = services.set_active(user_id=str(user.pk), is_active=False, now=now)
    return user


def make_staff(*, email=""):
    return services.create_staff(email=email or new_email(), password=PASSWORD, now=timezone.now())


def token_of(user, *, now=None):
    return services.token_for(user, now=now or timezone.now())
