"""The expiration service."""

from __future__ import annotations

from ticketing.env import SHORTEST_DJANGO_SECRET, env_secret
from ticketing.settings.celery import *  # noqa: F403
from ticketing.settings.mongodb import *  # noqa: F403
from ticketing.settings.mongodb import DJANGO_APPS, mongodb_database

SERVICE_NAME = "expiration"
OUTBOX_SOURCE = f"/ticketing/{SERVICE_NAME}"
SECRET_KEY = env_secret("SECRET_KEY", shortest=SHORTEST_DJANGO_SECRET)
INSTALLED_APPS: tuple[str, ...] = (*DJANGO_APPS, "apps.outbox", "apps.expiration")
ROOT_URLCONF = "ticketing.urls.expiration"
DATABASES = {"default": mongodb_database("ticketing_expiration")}
SESSION_COOKIE_NAME = "expiration_admin"
SESSION_COOKIE_PATH = "/expiration/admin/"
EVENT_HANDLERS = "apps.expiration.handlers.HANDLERS"
CONSUMER_GROUP = "ticketing.expiration"
