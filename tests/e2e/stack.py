"""Which system the journeys run against: this checkout's local stack, unless told otherwise."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import httpx
import psutil

from deploy.local.config import Config, load
from deploy.local.supervision import Supervisor

T = TypeVar("T")

PATIENCE_SECONDS = 30.0
POLL_SECONDS = 0.1
# A journey that waits for a reservation to end must not wait a quarter of an hour.
LONGEST_WINDOW_SECONDS = 60


def eventually(check: Callable[[], T], *, within: float = PATIENCE_SECONDS, what: str = "") -> T:
    """Return the first true answer of `check`, which is asked again and again.

    Raises:
        AssertionError: there was none in time; the last answer is told.
    """
    deadline = time.monotonic() + within
    while not (answer := check()):
        assert time.monotonic() < deadline, f"{what or 'waited'}: still {answer!r} after {within} s"
        time.sleep(POLL_SECONDS)
    return answer


def says_ok(address: str) -> bool:
    """Whether something answers there, and well."""
    try:
        return httpx.get(address, timeout=20).is_success
    except httpx.TransportError:
        return False


@dataclass(frozen=True)
class Stack:
    """Where the running system is reached, and by which account of the staff."""

    config: Config
    base_url: str
    kafka: str
    registry: str
    staff_email: str
    staff_password: str

    @classmethod
    def from_environment(cls) -> Stack:
        """Read TICKETING_DIR, as `make run` does, and what is given in place of its parts."""
        config = load()
        ports, secrets = config.ports, config.secrets
        return cls(
            config=config,
            base_url=os.environ.get("BASE_URL", config.public_url),
            kafka=os.environ.get("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{ports['kafka']}"),
            registry=os.environ.get(
                "SCHEMA_REGISTRY_URL", f"http://127.0.0.1:{ports['registry']}/apis/ccompat/v7"
            ),
            staff_email=os.environ.get("STAFF_EMAIL", "admin@example.com"),
            staff_password=os.environ.get("STAFF_PASSWORD", secrets["DEMO_STAFF_PASSWORD"]),
        )

    def pid_of(self, process: str) -> int:
        """Return the id of a process by its name in stack.py, 0 while it is down."""
        return int(Supervisor(self.config).infos()[process]["pid"])

    def kill(self, process: str) -> int:
        """Kill a process and all below it without a warning, and return its id."""
        pid = self.pid_of(process)
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for member in family:
            member.send_signal(signal.SIGKILL)
        return pid

    def wait_for_restart(self, process: str, killed_pid: int) -> None:
        eventually(
            lambda: self.pid_of(process) not in (0, killed_pid), what=f"restart of {process}"
        )
