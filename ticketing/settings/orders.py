"""The orders service: the one on PostgreSQL, whose outbox Debezium reads."""

from __future__ import annotations

from ticketing.env import SHORTEST_DJANGO_SECRET, env_int, env_postgresql, env_secret, env_str
from ticketing.settings.base import *  # noqa: F403
from ticketing.settings.base import BASE_APPS, SQL_APPS

SERVICE_NAME = "orders"
OUTBOX_SOURCE = f"/ticketing/{SERVICE_NAME}"
SECRET_KEY = env_secret("SECRET_KEY", shortest=SHORTEST_DJANGO_SECRET)
INSTALLED_APPS: tuple[str, ...] = (*SQL_APPS, *BASE_APPS, "apps.outbox", "apps.orders")
ROOT_URLCONF = "ticketing.urls.orders"
DATABASES = {"default": env_postgresql("DATABASE_URL")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SESSION_COOKIE_NAME = "orders_admin"
SESSION_COOKIE_PATH = "/orders/admin/"
EVENT_HANDLERS = "apps.orders.handlers.HANDLERS"
STORE_GAUGES = "apps.orders.metrics.set_gauges"
READ_MODELS = {"tickets": "apps.orders.handlers.TICKETS"}
CONSUMER_GROUP = "ticketing.orders"
EXPIRATION_WINDOW_SECONDS = env_int("EXPIRATION_WINDOW_SECONDS", 900)
# How long a buyer may give a paid ticket back for the money; 0 is never.
PAID_ORDER_CANCELLATION_SECONDS = env_int("PAID_ORDER_CANCELLATION_SECONDS", 0)
OUTBOX_TRANSPORT = env_str("OUTBOX_TRANSPORT", "debezium")
OUTBOX_CONNECTOR = "outbox-orders"
OUTBOX_RAW_TOPIC = "ticketing.orders.raw"
# What the connector's configuration says in the password's place, for Connect to look up.
OUTBOX_CONNECTOR_PASSWORD = env_str("OUTBOX_CONNECTOR_PASSWORD", "")
CONNECT_URL = env_str("CONNECT_URL")
