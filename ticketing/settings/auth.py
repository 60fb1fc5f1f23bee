"""The auth service."""

from __future__ import annotations

from urllib.parse import urlsplit

from ticketing.env import SHORTEST_DJANGO_SECRET, env_email, env_int, env_secret, env_str
from ticketing.settings.base import PUBLIC_URL, SITE_NAME
from ticketing.settings.mongodb import *  # noqa: F403
from ticketing.settings.mongodb import DJANGO_APPS, mongodb_database

SERVICE_NAME = "auth"
OUTBOX_SOURCE = f"/ticketing/{SERVICE_NAME}"
SECRET_KEY = env_secret("SECRET_KEY", shortest=SHORTEST_DJANGO_SECRET)
INSTALLED_APPS: tuple[str, ...] = (*DJANGO_APPS, "apps.outbox", "apps.auth")
ROOT_URLCONF = "ticketing.urls.auth"
DATABASES = {"default": mongodb_database("ticketing_auth")}
SESSION_COOKIE_NAME = "auth_admin"
SESSION_COOKIE_PATH = "/auth/admin/"
AUTH_USER_MODEL = "accounts.User"
EVENT_HANDLERS = "apps.auth.handlers.HANDLERS"
CONSUMER_GROUP = "ticketing.auth"
MAIL_TRANSPORT = env_email("EMAIL_URL", "smtp://127.0.0.1:25")
MAIL_FROM = env_str("MAIL_FROM", f"{SITE_NAME} <no-reply@{urlsplit(PUBLIC_URL).hostname}>")
MAIL_GIVE_UP_SECONDS = env_int("MAIL_GIVE_UP_SECONDS", 3 * 24 * 3600)
# After so many wrong passwords in a row (0: any number) an account takes none for a while.
SIGNIN_FAILURES_LIMIT = env_int("SIGNIN_FAILURES_LIMIT", 10)
SIGNIN_LOCK_SECONDS = env_int("SIGNIN_LOCK_SECONDS", 15 * 60)
TOKEN_RENEWAL = "apps.auth.services.renew_token"  # noqa: S105 (a path)
# Memory-hard, and in the standard library.
PASSWORD_HASHERS: tuple[str, ...] = (
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
)
DEMO_PASSWORDS: dict[str, str] = {
    "seller@example.com": env_str("DEMO_SELLER_PASSWORD", ""),
    "buyer@example.com": env_str("DEMO_BUYER_PASSWORD", ""),
    "admin@example.com": env_str("DEMO_STAFF_PASSWORD", ""),
}
