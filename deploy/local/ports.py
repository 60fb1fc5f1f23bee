"""Which port each part listens on: given, remembered from the last start, or free."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import psutil

from deploy.local.errors import CannotContinue

GATEWAY = "gateway"
DEFAULT_GATEWAY_PORT = 8000
# What serves metrics and probes, on a port beside its own.
OBSERVED = (
    *("auth-web", "auth-relay", "auth-consumer", "auth-mailer"),
    *("tickets-web", "tickets-relay", "tickets-consumer"),
    *("orders-web", "orders-raw", "orders-consumer"),
    *("payments-web", "payments-relay", "payments-consumer", "payments-settler"),
    *("expiration-web", "expiration-relay", "expiration-consumer"),
    *("expiration-worker", "expiration-beat"),
)
NAMES = (
    GATEWAY,
    "postgres",
    "mongod",
    "redis",
    "kafka",
    "kafka-controller",
    "registry",
    "registry-management",
    "connect",
    "provider",
    "auth-web",
    "tickets-web",
    "orders-web",
    "payments-web",
    "expiration-web",
    *(f"{name}-metrics" for name in OBSERVED),
)
# What a proxy can be put before, so that `make prove` can disturb the connections to it.
FRONTED = ("postgres", "mongod", "redis", "kafka", "registry", "provider")
# Below the range from which Linux takes the ports of outgoing connections, so that none of those
# can sit on a port of ours while a server restarts.
FREE_RANGE = range(20_000, 32_000)
HIGHEST_PORT = 65_535


def variable(name: str) -> str:
    """Return the environment variable that sets the port of `name`."""
    return "PORT" if name == GATEWAY else f"{name.upper().replace('-', '_')}_PORT"


def front_variable(name: str) -> str:
    """Return the environment variable that names the port of what stands before a server."""
    return f"{name.upper()}_FRONT_PORT"


def is_free(port: int) -> bool:
    with socket.socket() as listener:
        # A connection that is only waiting out its TIME_WAIT does not keep a server away.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose_ports(environ: Mapping[str, str], remembered: Path) -> dict[str, int]:
    """Return a port for every name; the ones that nobody chose are remembered in a file."""
    try:
        known: dict[str, int] = json.loads(remembered.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        known = {}
    ports: dict[str, int] = {}
    for name in NAMES:
        if text := environ.get(variable(name)):
            ports[name] = parse(text, variable(name))
    for name in NAMES:
        if name not in ports:
            kept = known.get(name, DEFAULT_GATEWAY_PORT if name == GATEWAY else 0)
            taken = set(ports.values())
            ports[name] = kept if kept and kept not in taken else find_free(taken)
    remember(ports, remembered)
    return ports


def remember(ports: Mapping[str, int], path: Path) -> None:
    path.write_text(json.dumps(dict(ports), indent=2), encoding="utf-8")


def parse(text: str, name: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= HIGHEST_PORT:
        raise CannotContinue(f"{name} must be a port between 1 and {HIGHEST_PORT}, not {text!r}.")
    return int(text)


def find_free(taken: Collection[int], free: Callable[[int], bool] = is_free) -> int:
    """Return a port that nobody listens on and that is not `taken` by another part."""
    for port in random.sample(FREE_RANGE, len(FREE_RANGE)):
        if port not in taken and free(port):
            return port
    raise CannotContinue(f"No port is free between {FREE_RANGE.start} and {FREE_RANGE.stop}.")


def settle_ports(
    ports: Mapping[str, int],
    environ: Mapping[str, str],
    remembered: Path,
    free: Callable[[int], bool] = is_free,
) -> dict[str, int]:
    """Replace the ports that somebody else took meanwhile.

    Raises:
        CannotContinue: a port that a person chose, or the gateway's, is taken.
    """
    settled = dict(ports)
    for name, port in ports.items():
        if free(port):
            continue
        if name == GATEWAY or environ.get(variable(name)):
            raise CannotContinue(
                f"Port {port} ({name}) is taken{by_whom(port)}. Stop that, or choose another port: "
                f"make run {variable(name)}={find_free(settled.values(), free)}"
            )
        settled[name] = find_free(settled.values(), free)
    remember(settled, remembered)
    return settled


def by_whom(port: int) -> str:
    """Return ' by NAME (pid N)' where the system tells who listens on the port."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,):
                if connection.pid:
                    return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
                break
    except psutil.Error:
        pass
    return ""
