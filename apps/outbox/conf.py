"""The settings of the outbox, and what holds where a project does not set them.

Each is an ordinary Django setting of the same name; the README's table says more of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings as project
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from .topics import Topic

DAY = 24 * 3600


class Defaults:
    """Those without a value have none: a project that needs them must set them."""

    KAFKA_BOOTSTRAP_SERVERS: str
    SCHEMA_REGISTRY_URL: str
    OUTBOX_TOPICS: Sequence[Topic]

    KAFKA_SECURITY: Mapping[str, str] = {}
    SCHEMA_REGISTRY_SECURITY: Mapping[str, str] = {}

    OUTBOX_TRANSPORT: str = "relay"
    OUTBOX_RELAY_FENCING: str = "lease"
    OUTBOX_RETENTION_SECONDS: int = 7 * DAY

    EVENT_HANDLERS: str = ""
    READ_MODELS: Mapping[str, str] = {}
    CONSUMER_ATTEMPTS: int = 3
    CONSUMER_ORDERING: str = "key"
    OUTBOX_RETRY_DELAYS_SECONDS: Sequence[int] = (5, 60, 600)
    OUTBOX_RETRY_DEADLINE_SECONDS: int = 3600
    CONSUMER_BATCH: int = 500
    CONSUMER_DLQ_LIMIT: int = 100
    CONSUMER_DLQ_LIMIT_WINDOW_SECONDS: int = 60
    INBOX_RETENTION_SECONDS: int = 30 * DAY

    METRICS_ADDRESS: str = ""
    STORE_GAUGES: str = ""
    LIVENESS_FILE: str = ""
    LIVENESS_SECONDS: int = 60
    STOP_GRACE_SECONDS: int = 25

    # With Debezium alone.
    CONNECT_URL: str
    OUTBOX_CONNECTOR: str
    OUTBOX_RAW_TOPIC: str
    OUTBOX_CONNECTOR_PASSWORD: str = ""

    @property
    def SERVICE_NAME(self) -> str:  # noqa: N802 (named as the setting is)
        """The project's package, as startproject names it."""
        return str(project.ROOT_URLCONF).partition(".")[0]

    @property
    def OUTBOX_SOURCE(self) -> str:  # noqa: N802
        """CloudEvents' source, a path."""
        return f"/{settings.SERVICE_NAME}"

    @property
    def AVRO_DIR(self) -> Path:  # noqa: N802
        """The directory avro beside manage.py."""
        return Path(project.BASE_DIR) / "avro"

    @property
    def CONSUMER_GROUP(self) -> str:  # noqa: N802
        """One group reads for the whole service."""
        return settings.SERVICE_NAME

    @property
    def OUTBOX_CONSUMERS(self) -> Mapping[str, tuple[str, ...]]:  # noqa: N802
        """What this project's own handlers read."""
        if not settings.EVENT_HANDLERS:
            return {}
        handlers: Mapping[Any, Any] = import_string(settings.EVENT_HANDLERS)
        return {settings.CONSUMER_GROUP: tuple(sorted({event.topic for event in handlers}))}


class Settings(Defaults):
    """The project's settings, else the defaults; asked each time, since tests change them."""

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401 (a setting may be anything)
        if name.isupper() and hasattr(project, name):
            return getattr(project, name)
        return super().__getattribute__(name)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        raise ImproperlyConfigured(f"The outbox needs the setting {name}, which has no default.")


settings = Settings()
