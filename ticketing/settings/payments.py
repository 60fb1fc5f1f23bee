"""The payments service."""

from __future__ import annotations

from ticketing.env import SHORTEST_DJANGO_SECRET, env_int, env_secret, env_str
from ticketing.settings.mongodb import *  # noqa: F403
from ticketing.settings.mongodb import DJANGO_APPS, mongodb_database

SERVICE_NAME = "payments"
OUTBOX_SOURCE = f"/ticketing/{SERVICE_NAME}"
SECRET_KEY = env_secret("SECRET_KEY", shortest=SHORTEST_DJANGO_SECRET)
INSTALLED_APPS: tuple[str, ...] = (*DJANGO_APPS, "apps.outbox", "apps.payments")
ROOT_URLCONF = "ticketing.urls.payments"
DATABASES = {"default": mongodb_database("ticketing_payments")}
SESSION_COOKIE_NAME = "payments_admin"
SESSION_COOKIE_PATH = "/payments/admin/"
EVENT_HANDLERS = "apps.payments.handlers.HANDLERS"
CONSUMER_GROUP = "ticketing.payments"
STRIPE_KEY = env_secret("STRIPE_KEY")
# With it the pay page shows Stripe's own form; without it, test cards.
STRIPE_PUBLISHABLE_KEY = env_str("STRIPE_PUBLISHABLE_KEY", "")
STRIPE_API_BASE = env_str("STRIPE_API_BASE", "https://api.stripe.com")
STRIPE_WEBHOOK_SECRET = env_secret("STRIPE_WEBHOOK_SECRET")
# How many attempts, refunds or disputes a settler asks the provider about at the same time.
SETTLE_AT_ONCE = env_int("SETTLE_AT_ONCE", 8)
# How often the settler compares all sides for its metrics (0: never), and how far back.
RECONCILE_SECONDS = env_int("RECONCILE_SECONDS", 3600)
RECONCILE_DAYS = env_int("RECONCILE_DAYS", 7)
