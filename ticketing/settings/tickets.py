"""The tickets service."""

from __future__ import annotations

from ticketing.env import SHORTEST_DJANGO_SECRET, env_secret, env_str
from ticketing.settings.mongodb import *  # noqa: F403
from ticketing.settings.mongodb import DJANGO_APPS, mongodb_database

SERVICE_NAME = "tickets"
OUTBOX_SOURCE = f"/ticketing/{SERVICE_NAME}"
SECRET_KEY = env_secret("SECRET_KEY", shortest=SHORTEST_DJANGO_SECRET)
INSTALLED_APPS: tuple[str, ...] = (*DJANGO_APPS, "apps.outbox", "apps.tickets")
ROOT_URLCONF = "ticketing.urls.tickets"
DATABASES = {"default": mongodb_database("ticketing_tickets")}
SESSION_COOKIE_NAME = "tickets_admin"
SESSION_COOKIE_PATH = "/tickets/admin/"
EVENT_HANDLERS = "apps.tickets.handlers.HANDLERS"
CONSUMER_GROUP = "ticketing.tickets"
DEMO_SELLER_ID = env_str("DEMO_SELLER_ID", "")
