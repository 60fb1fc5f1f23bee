"""What must be there before the processes of this version may start."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing

from django.db import close_old_connections, connection
from django.db.migrations.executor import MigrationExecutor

from . import kafka
from .failures import is_outage
from .management.base import outage_text
from .provisioning import Change, create_topics, wanted_topics
from .registration import Step, plan
from .registry import Registry

PAUSE_SECONDS = 2.0
BRINGERS = "migrate, create_topics or register_schemas"
# A topic that keeps its records otherwise is no reason to wait: the version before may want it so.
MISSING = frozenset({Change.CREATED, Change.GREW})


class NotReady(Exception):
    """The time is up, and something is still missing."""


def missing_migrations() -> list[str]:
    """Name the migrations that the database of this service does not have."""
    executor = MigrationExecutor(connection)
    steps = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"migration {migration.app_label}.{migration.name}" for migration, _ in steps]


def missing_topics() -> list[str]:
    """Name the topics that are not there, or have too few partitions."""
    admin = kafka.admin()  # it must live until the answer is there
    outcomes = create_topics(admin, wanted_topics(), is_check=True)
    return [f"topic {outcome.topic.name}" for outcome in outcomes if outcome.change in MISSING]


def missing_schemas() -> list[str]:
    """Name the subjects that do not have this version's schema."""
    with closing(Registry.from_settings()) as registry:
        return [f"schema {each.subject}" for each in plan(registry) if each.step != Step.UNCHANGED]


def await_all(
    checks: Sequence[Callable[[], list[str]]],
    *,
    timeout: float,
    say: Callable[[str], object],
    pause: float = PAUSE_SECONDS,
) -> None:
    """Return as soon as no check finds anything missing; a server that is away is waited for.

    Args:
        checks: each returns what is missing.
        timeout: seconds after which it gives up.
        say: told what is waited for, each time that it is something else.
        pause: seconds between two looks.

    Raises:
        NotReady: something is still missing; the text says what.
    """
    deadline = time.monotonic() + timeout
    said = ""
    while wanted := _first_want(checks):
        if time.monotonic() >= deadline:
            raise NotReady(wanted)
        if wanted != said:
            say(f"Waiting for: {wanted}")
            said = wanted
        time.sleep(pause)
        close_old_connections()


def _first_want(checks: Sequence[Callable[[], list[str]]]) -> str:
    for check in checks:
        try:
            found = check()
        except Exception as exc:
            if not is_outage(exc):
                raise
            return outage_text(exc)
        if found:
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            return f"{found[0]}{more}, which {BRINGERS} must bring"
    return ""
