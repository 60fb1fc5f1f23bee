"""What an entry of the stack is: words for stack.py to be written in."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from deploy.local.config import INJECTED, OF_THE_SYSTEM, PASSED_ON, ROOT, SERVICES, Config


@dataclass(frozen=True)
class Launch:
    """How one process is started on this machine."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path = ROOT


@dataclass(frozen=True)
class Program:
    """What to start, what to do before its first start, and how to ask it to stop."""

    launch: Callable[[Config], Launch]
    prepare: Callable[[Config], None] = lambda _config: None
    stop_signal: str = "TERM"


Probe = Callable[[Config], bool]
"""Whether the entry is of use to the ones after it; asked again and again until it is."""


@dataclass(frozen=True)
class Entry:
    """One line of stack.py."""

    name: str
    program: Program
    after: tuple[str, ...] = ()
    ready: Probe | None = None
    once: bool = False
    unless_changed: tuple[str, ...] = ()
    wanted: Callable[[Config], bool] = lambda _config: True


def python(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, *arguments)


def environment_of_system(config: Config, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what every process gets: the system's variables and none of the shell's others."""
    kept = {name: environ[name] for name in OF_THE_SYSTEM if name in environ}
    if INJECTED in environ:
        kept["PYTHONPATH"] = environ[INJECTED]
    # By this mark the next start finds what a killed supervisor may have left behind.
    return kept | {"PYTHONUNBUFFERED": "1", "TICKETING_STACK": str(config.directory)}


def environment_of_service(config: Config, service: str) -> dict[str, str]:
    """Return the settings of a service: what Kubernetes would give its container."""
    secrets = config.secrets
    values = {
        "DJANGO_SETTINGS_MODULE": f"ticketing.settings.{service}",
        "SECRET_KEY": secrets[f"{service.upper()}_SECRET_KEY"],
        "JWT_KEY": secrets["JWT_KEY"],
        "PUBLIC_URL": config.public_url,
        # A tunnel to this stack may end TLS; the stack's own gateway does not.
        "HTTPS_REDIRECT": "false",
        "KAFKA_BOOTSTRAP_SERVERS": config.address("kafka"),
        "SCHEMA_REGISTRY_URL": f"http://{config.address('registry')}/apis/ccompat/v7",
        "STATIC_ROOT": str(config.directory / "static"),
    }
    if service == "orders":
        values |= {"DATABASE_URL": database_url(config, "ticketing_orders")}
        values |= {
            "CONNECT_URL": f"http://{config.address('connect')}",
            "OUTBOX_CONNECTOR_PASSWORD": "${env:CONNECT_ORDERS_PASSWORD}",
        }
    else:
        values |= {"MONGODB_URI": mongodb_uri(config)}
    if service == "auth":
        values |= {
            name: secrets[name]
            for name in ("DEMO_SELLER_PASSWORD", "DEMO_BUYER_PASSWORD", "DEMO_STAFF_PASSWORD")
        }
        values |= {"EMAIL_URL": f"file://{quote(str(config.mail))}"}
    if service == "expiration":
        values |= {"REDIS_URL": f"redis://{config.address('redis')}/0"}
    if service == "payments":
        values |= {
            "STRIPE_KEY": secrets["STRIPE_KEY"],
            "STRIPE_WEBHOOK_SECRET": secrets["STRIPE_WEBHOOK_SECRET"],
        }
        if config.sandboxed:
            values |= {"STRIPE_API_BASE": f"http://{config.address('provider')}"}
    return values | {name: config.given[name] for name in PASSED_ON if name in config.given}


def database_url(config: Config, database: str) -> str:
    password = config.secrets["POSTGRES_PASSWORD"]
    return f"postgresql://ticketing:{password}@{config.address('postgres')}/{database}"


def mongodb_uri(config: Config) -> str:
    return f"mongodb://{config.address('mongod')}/?replicaSet=rs0"


def environment_of_tests(config: Config) -> dict[str, str]:
    """Return what connects to every server, for tests and tools that are of no one service."""
    together: dict[str, str] = {}
    for service in SERVICES:
        together |= environment_of_service(config, service)
    del together["DJANGO_SETTINGS_MODULE"]
    return together
