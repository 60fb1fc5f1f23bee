"""A service on MongoDB."""

from __future__ import annotations

from bench.settings.common import *  # noqa: F403

# isort: off - ours come last, over the service's own
from ticketing.settings.tickets import *  # noqa: F403
from ticketing.settings.tickets import INSTALLED_APPS as INSTALLED

INSTALLED_APPS: tuple[str, ...] = (*INSTALLED, "bench")
