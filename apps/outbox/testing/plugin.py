"""Fixtures for projects that use the outbox.

In the root conftest.py: `pytest_plugins = ["kafka_outbox.testing.plugin"]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .doubles import FakeClock
    from .outbox import Outbox


@pytest.fixture
def outbox(db: None) -> Outbox:  # noqa: ARG001 (pytest-django's: the rows are real)
    """See `Outbox`: what the test publishes, and the way of events to this project's handlers."""
    # Plugins are imported before Django knows its settings, and in projects without any.
    from .outbox import Outbox  # noqa: PLC0415

    return Outbox()


@pytest.fixture
def fake_clock() -> FakeClock:
    """Time that passes when the test says so."""
    from .doubles import FakeClock  # noqa: PLC0415

    return FakeClock()
