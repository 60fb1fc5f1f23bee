"""A service on PostgreSQL, whose outbox a relay reads or Debezium, as OUTBOX_TRANSPORT says."""

from __future__ import annotations

from bench.settings.common import *  # noqa: F403

# isort: off - ours come last, over the service's own
from ticketing.settings.orders import *  # noqa: F403
from ticketing.settings.orders import INSTALLED_APPS as INSTALLED

INSTALLED_APPS: tuple[str, ...] = (*INSTALLED, "bench")
