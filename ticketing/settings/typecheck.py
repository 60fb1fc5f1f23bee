"""Every application installed, for mypy alone: no process runs on this module."""

from __future__ import annotations

import os
import secrets

for name in ("SECRET_KEY", "JWT_KEY", "STRIPE_KEY", "STRIPE_WEBHOOK_SECRET"):
    os.environ.setdefault(name, secrets.token_urlsafe(48))
for name, value in {
    "CONNECT_URL": "http://connect.invalid",
    "DATABASE_URL": "postgresql://postgresql.invalid/typecheck",
    "KAFKA_BOOTSTRAP_SERVERS": "kafka.invalid:9092",
    "MONGODB_URI": "mongodb://mongodb.invalid",
    "PUBLIC_URL": "https://typecheck.invalid",
    "REDIS_URL": "redis://redis.invalid",
    "SCHEMA_REGISTRY_URL": "http://registry.invalid",
}.items():
    os.environ.setdefault(name, value)

from ticketing.settings.auth import (  # noqa: E402, F401
    AUTH_USER_MODEL,
    MAIL_FROM,
    MAIL_GIVE_UP_SECONDS,
    MAIL_TRANSPORT,
    SIGNIN_FAILURES_LIMIT,
    SIGNIN_LOCK_SECONDS,
)
from ticketing.settings.auth import DEMO_PASSWORDS as DEMO_PASSWORDS  # noqa: E402, PLC0414
from ticketing.settings.base import BASE_APPS, SQL_APPS  # noqa: E402
from ticketing.settings.expiration import *  # noqa: E402, F403
from ticketing.settings.orders import *  # noqa: E402, F403
from ticketing.settings.payments import *  # noqa: E402, F403
from ticketing.settings.tickets import DEMO_SELLER_ID  # noqa: E402, F401

INSTALLED_APPS = (
    *SQL_APPS,
    *BASE_APPS,
    "apps.outbox",
    "apps.auth",
    "apps.tickets",
    "apps.orders",
    "apps.payments",
    "apps.expiration",
)
