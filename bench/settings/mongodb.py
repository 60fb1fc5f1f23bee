"""A service on MongoDB."""

# ruff: noqa: I001 - ours come last, over the service's own
from __future__ import annotations

from ticketing.settings.tickets import *  # noqa: F403
from ticketing.settings.tickets import INSTALLED_APPS as INSTALLED
from bench.settings.common import *  # noqa: F403

INSTALLED_APPS: tuple[str, ...] = (*INSTALLED, "bench")
