"""A service on PostgreSQL, whose outbox a relay reads or Debezium, as OUTBOX_TRANSPORT says."""

# ruff: noqa: I001 - ours come last, over the service's own
from __future__ import annotations

from ticketing.settings.orders import *  # noqa: F403
from ticketing.settings.orders import INSTALLED_APPS as INSTALLED
from bench.settings.common import *  # noqa: F403

INSTALLED_APPS: tuple[str, ...] = (*INSTALLED, "bench")
