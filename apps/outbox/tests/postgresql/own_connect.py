"""A Kafka Connect of a test's own, to be killed: started as the one that runs, beside it."""

from __future__ import annotations

import os
import socket
import subprocess
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
from django.conf import settings
from django.db import connection

from apps.outbox.tests.sending import wait_for

PASSWORD = "CONNECT_TEST_PASSWORD"


class OwnConnect:
    """Connect with its own group, its own topics, and passwords from its environment.

    Args:
        folder: where its configuration and its log go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        *command, properties = _running()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.topics = [f"test-connect-{uuid.uuid4().hex[:8]}-{kind}" for kind in range(3)]
        own = dict(
            line.split("=", 1) for line in Path(properties).read_text("utf-8").splitlines() if line
        ) | {
            "group.id": self.topics[0],
            "listeners": self.url,
            "config.storage.topic": self.topics[0],
            "offset.storage.topic": self.topics[1],
            "status.storage.topic": self.topics[2],
            "config.providers": "env",
            "config.providers.env.class": (
                "org.apache.kafka.common.config.provider.EnvVarConfigProvider"
            ),
            "config.providers.env.param.allowlist.pattern": "CONNECT_.*",
            # A killed worker's task is its successor's after this long.
            "session.timeout.ms": "6000",
            "heartbeat.interval.ms": "1500",
            "scheduled.rebalance.max.delay.ms": "0",
        }
        path = folder / "connect.properties"
        path.write_text("".join(f"{name}={value}\n" for name, value in own.items()), "utf-8")
        self._command = [*command, str(path)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "connect.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=os.environ | {PASSWORD: str(connection.settings_dict["PASSWORD"])},
                stdout=log,
                stderr=log,
            )

    def await_answer(self) -> None:
        wait_for(self._answers, seconds=120)

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/connectors", timeout=5).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


def _running() -> list[str]:
    """Return the command line of the Connect that answers at CONNECT_URL."""
    port = urlsplit(settings.CONNECT_URL).port
    [pid] = {
        each.pid
        for each in psutil.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN and each.laddr[1] == port and each.pid
    }
    return psutil.Process(pid).cmdline()
