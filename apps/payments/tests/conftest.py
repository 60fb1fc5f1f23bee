"""A real sandbox provider for the run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as run_settings

from apps.payments.gateway import StripeGateway, provider
from apps.payments.tests.fakes import FakeGateway
from apps.payments.tests.sandbox import SandboxProcess


@pytest.fixture(scope="session")
def sandbox_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    process = SandboxProcess(
        tmp_path_factory.mktemp("sandbox"),
        key=run_settings.STRIPE_KEY,
        secret=run_settings.STRIPE_WEBHOOK_SECRET,
    )
    yield process
    process.stop()


@pytest.fixture
def sandbox(sandbox_process: SandboxProcess) -> Iterator[SandboxProcess]:
    yield sandbox_process
    sandbox_process.control("DELETE", "faults")


@pytest.fixture
def stripe_provider(sandbox: SandboxProcess, settings: Any) -> Iterator[StripeGateway]:
    """The gateway that views use, pointed at the run's own sandbox."""
    settings.STRIPE_API_BASE = sandbox.url
    provider.cache_clear()
    yield provider()
    provider.cache_clear()


@pytest.fixture
def fake() -> FakeGateway:
    return FakeGateway()
