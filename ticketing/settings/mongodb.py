"""What the services on MongoDB share."""

from __future__ import annotations

from typing import Any

from ticketing.env import env_str
from ticketing.settings.base import *  # noqa: F403
from ticketing.settings.base import BASE_APPS, MONGODB_APPS, MONGODB_MIGRATION_MODULES

DEFAULT_AUTO_FIELD = "django_mongodb_backend.fields.ObjectIdAutoField"
MIGRATION_MODULES: dict[str, str] = MONGODB_MIGRATION_MODULES
DJANGO_APPS: tuple[str, ...] = (*MONGODB_APPS, *BASE_APPS)


def mongodb_database(name: str) -> dict[str, Any]:
    """Return the DATABASES entry of a service whose database is called `name`."""
    return {
        "ENGINE": "apps.outbox.mongodb",
        "HOST": env_str("MONGODB_URI"),
        "NAME": env_str("MONGODB_DATABASE", name),
        "OPTIONS": {"serverSelectionTimeoutMS": 3000, "tz_aware": False},
    }
