"""Where this checkout's stack keeps things, on which ports, with which secrets."""

from __future__ import annotations

import base64
import json
import os
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.errors import CannotContinue
from deploy.local.ports import FRONTED, choose_ports, front_variable, parse

ROOT = Path(__file__).resolve().parent.parent.parent
SERVICES = ("auth", "tickets", "orders", "payments", "expiration")

FOR_TESTS = "TICKETING_FOR_TESTS"

# Settings of the services that a person may give to `make run`; everything else in the shell's
# environment stays outside, so that a stray DATABASE_URL cannot send the stack to another database.
PASSED_ON = (
    "DEBUG",
    "EMAIL_URL",
    "EXPIRATION_WINDOW_SECONDS",
    "JWT_KEY_PREVIOUS",
    "JWT_LIFETIME_SECONDS",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "MAIL_FROM",
    "MAIL_GIVE_UP_SECONDS",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_TRACES_EXPORTER",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "PAID_ORDER_CANCELLATION_SECONDS",
    "RECONCILE_DAYS",
    "RECONCILE_SECONDS",
    "SETTLE_AT_ONCE",
    "STRIPE_API_BASE",
    "STRIPE_KEY",
    "STRIPE_PUBLISHABLE_KEY",
    "STRIPE_WEBHOOK_SECRET",
    "THROTTLE_ORDERS",
    "THROTTLE_PAYMENTS",
    "THROTTLE_SIGNIN",
    "THROTTLE_SIGNUP",
)
# How much memory the databases keep pages in, a laptop's worth unless a person says otherwise (the
# benchmarks give them a server's); and how much log PostgreSQL keeps for a connector that is away,
# which must not fill the disk.
SIZES = {
    "MONGOD_CACHE_GB": "0.5",
    "POSTGRES_SHARED_BUFFERS": "128MB",
    "POSTGRES_MAX_SLOT_WAL_KEEP_SIZE": "4GB",
}
# What every process gets of the shell's environment. The last is how coverage measures processes
# that a measured one has started; before it, what the benchmarks tell the JVMs.
OF_THE_SYSTEM = (
    *("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER"),
    "_JAVA_OPTIONS",
    *("COVERAGE_FILE", "COVERAGE_PROCESS_CONFIG"),
)
# A directory whose modules every Python process finds first: how `make prove` sets their clocks.
INJECTED = "TICKETING_INJECTED"


@dataclass(frozen=True)
class Config:
    """One stack: a checkout, its directory of data, its ports and its secrets.

    `lasting` is False for the servers of the services' tests, which trade durability for speed.
    `fronts` are the ports by which a server is reached where something stands before it.
    """

    root: Path
    directory: Path
    cache: Path
    bind: str
    ports: Mapping[str, int]
    secrets: Mapping[str, str]
    given: Mapping[str, str]
    sizes: Mapping[str, str]
    lasting: bool = True
    fronts: Mapping[str, int] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    @property
    def run(self) -> Path:
        return self.directory / "run"

    @property
    def mail(self) -> Path:
        """Where mails land, one file each, unless EMAIL_URL names a server."""
        return self.directory / "mail"

    @property
    def generated(self) -> Path:
        return self.directory / "etc"

    def address(self, server: str) -> str:
        """Return where a server is reached: host and port."""
        return f"127.0.0.1:{self.fronts.get(server, self.ports[server])}"

    @property
    def public_url(self) -> str:
        return self.given.get("PUBLIC_URL", f"http://127.0.0.1:{self.ports['gateway']}")

    @property
    def sandboxed(self) -> bool:
        """Whether payments talk to the sandbox provider: no key of Stripe itself was given."""
        return "STRIPE_KEY" not in self.given


def directories(environ: Mapping[str, str]) -> tuple[Path, Path]:
    """Return where the stack keeps its data and where downloads are shared by all checkouts."""
    directory = Path(environ.get("TICKETING_DIR") or ROOT / ".local")
    cache_home = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = Path(environ.get("TICKETING_CACHE") or cache_home / "ticketing")
    return directory.expanduser().resolve(), cache.expanduser().resolve()


def load(environ: Mapping[str, str] | None = None) -> Config:
    """Read the environment, and make on the first start what is generated once."""
    environ = os.environ if environ is None else environ
    directory, cache = directories(environ)
    for path in (directory, directory / "run", directory / "logs", directory / "data", cache):
        path.mkdir(parents=True, exist_ok=True)
    given = {name: environ[name] for name in (*PASSED_ON, "PUBLIC_URL") if environ.get(name)}
    return Config(
        root=ROOT,
        directory=directory,
        cache=cache,
        bind=environ.get("BIND") or "127.0.0.1",
        ports=choose_ports(environ, directory / "run" / "ports.json"),
        secrets=load_secrets(directory / "secrets.json"),
        given=given,
        sizes={name: environ.get(name) or usual for name, usual in SIZES.items()},
        lasting=not environ.get(FOR_TESTS),
        fronts={
            name: parse(text, front_variable(name))
            for name in FRONTED
            if (text := environ.get(front_variable(name)))
        },
    )


def load_secrets(path: Path) -> dict[str, str]:
    """Return the secrets of this checkout, and generate the ones it does not have yet."""
    try:
        known: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = {}
    except ValueError as exc:
        raise CannotContinue(f"{path} is not JSON any more: mend it, or run `make reset`.") from exc
    complete = generate_secrets() | known
    if complete != known:
        # Made for its owner alone from the first byte, not narrowed afterwards.
        temporary = path.with_suffix(".new")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(complete, file, indent=2)
        temporary.replace(path)
    return complete


def generate_secrets() -> dict[str, str]:
    made = {
        "JWT_KEY": secrets.token_urlsafe(48),
        "POSTGRES_PASSWORD": secrets.token_urlsafe(24),
        "STRIPE_KEY": f"sk_test_{secrets.token_hex(24)}",
        "STRIPE_WEBHOOK_SECRET": f"whsec_{secrets.token_hex(24)}",
        "KAFKA_CLUSTER_ID": base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("="),
        "DEMO_STAFF_PASSWORD": secrets.token_urlsafe(9),
        "DEMO_SELLER_PASSWORD": secrets.token_urlsafe(9),
        "DEMO_BUYER_PASSWORD": secrets.token_urlsafe(9),
    }
    return made | {f"{name.upper()}_SECRET_KEY": secrets.token_urlsafe(48) for name in SERVICES}
