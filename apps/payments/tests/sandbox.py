"""A sandbox provider as a real process, for tests."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stripe import StripeClient

from apps.payments.gateway import API_VERSION, StripeGateway

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_SECONDS = 20
KEY = "sk_test_of_the_tests_own_sandbox_0123456789"
SECRET = "whsec_of_the_tests_own_sandbox_0123456789"


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

    def __init__(
        self, data: Path, webhook_url: str = "", *, key: str = KEY, secret: str = SECRET
    ) -> None:
        self.data = data
        self.key = key
        self.secret = secret
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
                env=os.environ | {"STRIPE_KEY": self.key, "STRIPE_WEBHOOK_SECRET": self.secret},
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
                "Authorization": f"Bearer {self.key}",
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
            options.pop("key", self.key),
            stripe_version=API_VERSION,
            base_addresses={"api": self.url},
            max_network_retries=0,
            **options,
        ).v1

    def gateway(self, timeout: tuple[float, float] = (2.0, 5.0)) -> StripeGateway:
        return StripeGateway(key=self.key, api_base=self.url, timeout=timeout)

    def charges_of(self, order_id: str) -> list[Any]:
        """The charges that took money for an order."""
        charges = self.client().charges.list({"limit": 100}).auto_paging_iter()
        return [
            charge
            for charge in charges
            if charge.metadata.to_dict().get("order_id") == order_id and charge.paid
        ]
