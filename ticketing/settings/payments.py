"""The payments service."""

from __future__ import annotations

from ticketing.env import env_secret, env_str
from ticketing.settings.mongodb import *  # noqa: F403
from ticketing.settings.mongodb import DJANGO_APPS, mongodb_database

SERVICE_NAME = "payments"
OUTBOX_SOURCE = f"/ticketing/{SERVICE_NAME}"
SECRET_KEY = env_secret("SECRET_KEY")
INSTALLED_APPS: tuple[str, ...] = (*DJANGO_APPS, "apps.outbox", "apps.payments")
ROOT_URLCONF = "ticketing.urls.payments"
DATABASES = {"default": mongodb_database("ticketing_payments")}
SESSION_COOKIE_NAME = "payments_admin"
SESSION_COOKIE_PATH = "/payments/admin/"
EVENT_HANDLERS = "apps.payments.handlers.HANDLERS"
CONSUMER_GROUP = "ticketing.payments"
STRIPE_KEY = env_secret("STRIPE_KEY")
STRIPE_API_BASE = env_str("STRIPE_API_BASE", "https://api.stripe.com")
STRIPE_WEBHOOK_SECRET = env_secret("STRIPE_WEBHOOK_SECRET")
