"""A real sandbox provider for the run, and a database that is empty before each test."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from stripe import StripeClient

from apps.payments.gateway import API_VERSION, StripeGateway, provider
from apps.payments.tests.fakes import FakeGateway

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_SECONDS = 20


def eventually(check: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    """Return the first truthy answer of `check`; fail when none comes in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := check():
            return found
        time.sleep(0.02)
    pytest.fail(f"did not happen within {seconds} s: {check}")


class SandboxProcess:
    """A sandbox as a real process, which a test may kill and start again on the same data."""

    def __init__(self, data: Path, webhook_url: str = "") -> None:
        self.data = data
        self.webhook_url = webhook_url
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        self.log = self.data / f"log-{time.monotonic_ns()}"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "deploy.sandbox",
                    f"--bind=127.0.0.1:{self.port}",
                    f"--data={self.data}",
                    f"--webhook-url={self.webhook_url}",
                ],
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ
                | {
                    "STRIPE_KEY": settings.STRIPE_KEY,
                    "STRIPE_WEBHOOK_SECRET": settings.STRIPE_WEBHOOK_SECRET,
                },
            )
        found = eventually(lambda: re.search(r"listening on http://[^:]+:(\d+)", self.text()))
        self.port = int(found[1])

    def text(self) -> str:
        return self.log.read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=PATIENCE_SECONDS)

    def control(self, method: str, path: str, **params: Any) -> Any:
        """Call one of the controls for tests."""
        request = urllib.request.Request(
            f"{self.url}/_sandbox/{path}",
            data=json.dumps(params).encode() if method == "POST" else None,
            headers={
                "Authorization": f"Bearer {settings.STRIPE_KEY}",
                "Content-Type": "application/json",
            },
            method=method,
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)["data"]

    def fault(self, kind: str, **params: Any) -> None:
        self.control("POST", "faults", kind=kind, **params)

    def client(self, **options: Any) -> Any:
        """The official library's client, as the documentation shows it."""
        return StripeClient(
            options.pop("key", settings.STRIPE_KEY),
            stripe_version=API_VERSION,
            base_addresses={"api": self.url},
            max_network_retries=0,
            **options,
        ).v1

    def gateway(self, timeout: tuple[float, float] = (2.0, 5.0)) -> StripeGateway:
        return StripeGateway(key=settings.STRIPE_KEY, api_base=self.url, timeout=timeout)

    def charges_of(self, order_id: str) -> list[Any]:
        """The charges that took money for an order."""
        charges = self.client().charges.list({"limit": 100}).auto_paging_iter()
        return [
            charge
            for charge in charges
            if charge.metadata.to_dict().get("order_id") == order_id and charge.paid
        ]


@pytest.fixture(scope="session")
def sandbox_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    process = SandboxProcess(tmp_path_factory.mktemp("sandbox"))
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
