"""`make test`: every part of the tests, on servers that are started for the run and thrown away."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.images import engine
from deploy.local.config import FOR_TESTS, ROOT, SERVICES, directories, load
from deploy.local.ending import end
from deploy.local.entries import environment_of_tests
from deploy.local.errors import CannotContinue
from deploy.local.output import bold, duration, last_lines, say
from deploy.local.ports import NAMES, find_free, variable

SECONDS_TO_COME_UP = 300
SECONDS_TO_STOP = 60
# Long enough to pay in a browser, short enough to wait for a reservation's end.
E2E_WINDOW = "20"
# Twenty containers on two cores take their time.
CONTAINERS_WINDOW = "60"
# What `make check` asks of each service, and of the schemas, which all of them share.
CHECKS = (
    ("makemigrations", "--check", "--dry-run"),
    ("check", "--database", "default", "--fail-level", "WARNING"),
)
SCHEMA_CHECKS = (("register_schemas",), ("register_schemas", "--check"))
CHECKED_AGAINST = ("postgres", "mongod", "registry")


@dataclass(frozen=True)
class Part:
    """One run of pytest: its paths, and the settings module it runs on, if any.

    `needs` is "servers", "up", or "own servers" for a part that starts every process itself; one
    with `engine` gets a Docker engine as well.
    """

    paths: tuple[str, ...]
    service: str = ""
    needs: str = ""
    options: tuple[str, ...] = ()
    engine: bool = False


ORDERS_IN_CONTAINERS = "orders-containers"
NOWHERE = "postgresql://nobody:nobody@127.0.0.1:1/nowhere"
SIDE_BY_SIDE = ("-n", "3")  # for what waits more than it works

# The shared apps run on both stores: on MongoDB with tickets' settings, on PostgreSQL with orders'.
PARTS: dict[str, Part] = {
    "local": Part(("deploy/local/tests",), "", "servers", SIDE_BY_SIDE),
    "compose": Part(("deploy/compose/tests",)),
    "sandbox": Part(("deploy/sandbox/tests",)),
    "k8s": Part(("deploy/k8s/tests",)),
    "contract": Part(("tests/contract",), "orders", "servers"),
    "core": Part(("apps/core/tests",), "tickets", "servers"),
    "core-postgresql": Part(("apps/core/tests/integration",), "orders", "servers"),
    "outbox": Part(
        tuple(f"apps/outbox/tests/{kind}" for kind in ("unit", "both", "mongodb", "standalone")),
        *("tickets", "servers", SIDE_BY_SIDE),
    ),
    "outbox-postgresql": Part(
        tuple(f"apps/outbox/tests/{kind}" for kind in ("both", "postgresql", "standalone")),
        *("orders", "servers", SIDE_BY_SIDE),
    ),
    "prove": Part(("prove/tests",)),
    "bench": Part(("bench/tests",), "", "servers", SIDE_BY_SIDE),
    "auth": Part(("apps/auth",), "auth", "servers"),
    "tickets": Part(("apps/tickets",), "tickets", "servers"),
    "orders": Part(("apps/orders",), "orders", "servers"),
    # The same tests on Testcontainers' PostgreSQL.
    ORDERS_IN_CONTAINERS: Part(("apps/orders",), "orders", "servers", engine=True),
    "payments": Part(("apps/payments",), "payments", "servers"),
    "expiration": Part(("apps/expiration",), "expiration", "servers"),
    "model": Part(("tests/model",), "", "servers"),
    "images": Part(("deploy/images/tests",), "", "own servers", engine=True),
    "e2e": Part(("tests/e2e",), "", "up"),
}


@dataclass
class Tally:
    """What came of the parts that have run."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    bad_parts: tuple[str, ...] = ()

    def add(self, name: str, status: int, report: Path) -> None:
        found = count(report)
        self.passed += found.passed
        self.skipped += found.skipped
        # A part that broke before its first test has failed, too.
        self.failed += found.failed or int(status != 0)
        if status != 0:
            self.bad_parts += (name,)

    def line(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def count(report: Path) -> Tally:
    """Read pytest's JUnit report; one that is not there counts nothing."""
    tally = Tally()
    if report.exists():
        for suite in ET.parse(report).getroot().iter("testsuite"):  # noqa: S314 - pytest's own
            number = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors")}
            skipped = int(suite.get("skipped", 0))
            failed = number["failures"] + number["errors"]
            tally.failed += failed
            tally.skipped += skipped
            tally.passed += max(0, number["tests"] - failed - skipped)
    return tally


def measured(*module: str) -> tuple[str, ...]:
    """Return a command that runs a module of Python with its branches counted."""
    return (sys.executable, "-m", "coverage", "run", "-m", *module)


class TestRun:
    """One run, in a directory of its own that is kept only when something failed."""

    __test__ = False  # pytest, too, looks for names like this

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.tally = Tally()
        self.of_engine: dict[str, str] = {}
        _, cache = directories(os.environ)
        self.environment = dict(os.environ) | {
            "TICKETING_CACHE": str(cache),
            "COVERAGE_FILE": str(directory / "coverage"),
            "PYTHONUNBUFFERED": "1",
        }

    def run_part(self, name: str, environment: dict[str, str]) -> None:
        part = PARTS[name]
        if part.engine:
            environment = environment | self.of_engine
        if name == ORDERS_IN_CONTAINERS:
            # So that no test can pass on the stack's server instead.
            environment = environment | {"DATABASE_URL": NOWHERE}
        paths = tuple(path for path in part.paths if (ROOT / path).exists())
        say(bold(f"\n== {name}: {' '.join(part.paths)}"))
        report = self.directory / f"{name}.xml"
        settings = (f"--ds=ticketing.settings.{part.service}",) if part.service else ()
        command = measured("pytest", "-q", f"--junitxml={report}", *settings, *part.options, *paths)
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        self.tally.add(name, done.returncode if paths else 1, report)

    @contextmanager
    def running(
        self, command: str, extra: Mapping[str, str], *names: str, home: str = ""
    ) -> Iterator[dict[str, str]]:
        """Keep `deploy.local COMMAND` running on free ports; give what connects to it."""
        directory = self.directory / (home or command)
        directory.mkdir()
        output = directory / "output.log"
        taken: set[int] = set()
        for _ in NAMES:
            taken.add(find_free(taken))
        ports = {variable(name): str(port) for name, port in zip(NAMES, taken, strict=True)}
        environment = self.environment | {"TICKETING_DIR": str(directory), **ports, **extra}
        say(bold(f"\n== starting: {command}"))
        started = time.monotonic()
        with output.open("wb") as log:
            process = subprocess.Popen(
                measured("deploy.local", command, *names),
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until_up(process, directory, output)
            say(f"up after {duration(time.monotonic() - started)}")
            yield environment | environment_of_tests(load(environment))
        finally:
            end(process, within=SECONDS_TO_STOP)

    def run(self, names: Sequence[str]) -> None:
        """Run the named parts, with a Docker engine beside them if any of them needs one."""
        if not any(PARTS[name].engine for name in names):
            self.run_parts(names)
            return
        with engine.running(self.directory / "engine") as running:
            self.of_engine = dict(running.environment)
            if running.is_ours and ORDERS_IN_CONTAINERS in names:
                _, cache = directories(os.environ)
                self.of_engine["TICKETING_POSTGRES_IMAGE"] = engine.postgres_image(running, cache)
            self.run_parts(names)

    def run_parts(self, names: Sequence[str]) -> None:
        def needing(what: str) -> list[str]:
            return [name for name in PARTS if name in names and PARTS[name].needs == what]

        for name in needing(""):
            self.run_part(name, {})
        if parts := needing("servers"):
            with self.running("servers", {FOR_TESTS: "1"}) as environment:
                for name in parts:
                    # Databases of its own, so that parts cannot meet in one.
                    database = f"ticketing_{name.replace('-', '_')}"
                    url = environment["DATABASE_URL"].rpartition("/")[0] + f"/{database}"
                    own = {"MONGODB_DATABASE": database, "DATABASE_URL": url}
                    self.run_part(name, environment | own)
        for name in needing("own servers"):
            extra = {FOR_TESTS: "1", "EXPIRATION_WINDOW_SECONDS": CONTAINERS_WINDOW}
            with self.running("servers", extra, home=name) as environment:
                self.run_part(name, environment)
        if parts := needing("up"):
            window = {"EXPIRATION_WINDOW_SECONDS": E2E_WINDOW}
            with self.running("up", window) as environment:
                for name in parts:
                    self.run_part(name, environment)

    def report_coverage(self) -> bool:
        """Print which lines and branches no test reached; return whether enough were."""
        say(bold("\n== coverage"))
        tool = (sys.executable, "-m", "coverage")
        for arguments in (("combine", "--quiet"), ("report",)):
            done = subprocess.run((*tool, *arguments), cwd=ROOT, env=self.environment, check=False)
            if done.returncode != 0:
                return False
        return True


def check() -> int:
    """Run Django's checks of every service, and register every schema, on throw-away servers.

    The servers are needed: some checks ask the database, and the registry is the judge of schemas.
    """
    directory = Path(tempfile.mkdtemp(prefix="ticketing-check-"))
    run = TestRun(directory)
    commands: list[tuple[str, tuple[str, ...]]] = []
    commands += [(service, arguments) for service in SERVICES for arguments in CHECKS]
    commands += [(SERVICES[0], arguments) for arguments in SCHEMA_CHECKS]
    bad = []
    try:
        with run.running("servers", {FOR_TESTS: "1"}, *CHECKED_AGAINST) as environment:
            for service, arguments in commands:
                done = subprocess.run(
                    (sys.executable, "manage.py", *arguments),
                    cwd=ROOT,
                    env=environment | {"DJANGO_SETTINGS_MODULE": f"ticketing.settings.{service}"},
                    check=False,
                    text=True,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
                if done.returncode != 0:
                    bad.append(f"{service}: manage.py {' '.join(arguments)}")
                    say(f"{bad[-1]}\n{done.stdout}")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    say(f"failed: {', '.join(bad)}" if bad else "migrations, checks and schemas are in order")
    return 1 if bad else 0


def wait_until_up(process: subprocess.Popen[bytes], home: Path, output: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_COME_UP
    while not (home / "run" / "up").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            lines = "\n".join(last_lines(output, 60))
            raise CannotContinue(f"The stack of the tests did not start:\n{lines}")
        time.sleep(0.1)


def usual_parts() -> tuple[str, ...]:
    """Return the parts that run when none is named: those that need no Docker engine."""
    return tuple(name for name, part in PARTS.items() if not part.engine)


def run(names: Sequence[str]) -> int:
    """Run the named parts, or all; return the exit status."""
    for name in names:
        if name not in PARTS:
            raise CannotContinue(f"{name!r} is no part. There are: {', '.join(PARTS)}.")
    started = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="ticketing-test-"))
    whole = TestRun(directory)
    try:
        whole.run(names or usual_parts())
    except CannotContinue as exc:
        say(f"ticketing: {exc}")
        whole.tally.failed += 1
        whole.tally.bad_parts += ("starting the stack",)
    covered = whole.report_coverage() if not names else True
    good = covered and not whole.tally.failed and bool(whole.tally.passed)
    if good:
        shutil.rmtree(directory, ignore_errors=True)
    else:
        what = ", ".join(whole.tally.bad_parts) or "coverage"
        say(f"\nfailed: {what}. Logs of servers and processes: {directory}")
    say(f"\ntests took {duration(time.monotonic() - started)}\n{whole.tally.line()}")
    return 0 if good else 1
