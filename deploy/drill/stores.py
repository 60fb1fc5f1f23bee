"""Backing up, losing and restoring what a stack keeps: one copy of all stores at one moment."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import psycopg
import pymongo

from deploy.local import fetch
from deploy.local.config import Config
from deploy.local.entries import database_url
from deploy.local.errors import CannotContinue
from deploy.local.servers import NOBODY
from deploy.local.supervision import Supervisor

BACKED_UP = ("postgres", "mongod", "kafka")
# Redis holds alarms alone, which the sweep does without. The provider is somebody else's computer:
# it remembers payments that we have forgotten.
LOST = (*BACKED_UP, "redis")
SERVERS = frozenset({*LOST, "registry", "connect", "provider", "gateway"})
SECONDS_TO_STOP = 60


def freeze(supervisor: Supervisor) -> tuple[str, ...]:
    """Stop all that writes, Connect included, and return what was stopped."""
    names = tuple(name for name in supervisor.infos() if name not in SERVERS)
    supervisor.stop(names, SECONDS_TO_STOP)
    supervisor.stop(("connect",), SECONDS_TO_STOP)
    return ("connect", *names)


def thaw(supervisor: Supervisor, names: tuple[str, ...]) -> None:
    for name in names:
        supervisor.start(name)


def back_up(config: Config, supervisor: Supervisor, to: Path) -> None:
    """Copy PostgreSQL, MongoDB and Kafka while nothing writes.

    PostgreSQL's base backup leaves replication slots out: a slot is part of a server, not of its
    data. Kafka's logs hold the events, the consumers' offsets, and Connect's.
    """
    _back_up_postgres(config, to / "postgres")
    _back_up_mongod(config, to / "mongod")
    # Kafka has no snapshot of its own: its logs are copied while it is down.
    supervisor.stop(("kafka",), SECONDS_TO_STOP)
    shutil.copytree(config.data / "kafka", to / "kafka")
    supervisor.start("kafka")


def _back_up_postgres(config: Config, to: Path) -> None:
    command = (
        str(fetch.postgres(config.cache) / "pg_basebackup"),
        *("--pgdata", str(to), "--host", "127.0.0.1", "--port", str(config.ports["postgres"])),
        *("--username", "ticketing", "--wal-method", "stream", "--checkpoint", "fast"),
    )
    environment = dict(os.environ) | {"PGPASSWORD": config.secrets["POSTGRES_PASSWORD"]}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotContinue(f"pg_basebackup failed: {done.stderr.strip()}")


def _back_up_mongod(config: Config, to: Path) -> None:
    address = f"mongodb://127.0.0.1:{config.ports['mongod']}"
    with pymongo.MongoClient[dict[str, object]](address, directConnection=True) as client:
        client.admin.command("fsync", lock=True)
        try:
            shutil.copytree(
                config.data / "mongod", to, ignore=shutil.ignore_patterns("mongod.lock")
            )
        finally:
            client.admin.command("fsyncUnlock")


def destroy(config: Config) -> None:
    for name in LOST:
        shutil.rmtree(config.data / name)


def restore(config: Config, source: Path) -> None:
    for name in BACKED_UP:
        shutil.copytree(source / name, config.data / name)
    directory = config.data / "postgres"
    directory.chmod(0o700)
    if os.geteuid() == 0:
        for path in (directory, *directory.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


def orders(config: Config) -> dict[str, str]:
    """Return the status of each order, as PostgreSQL has it."""
    with closing(psycopg.connect(database_url(config, "ticketing_orders"))) as connection:
        rows = connection.execute("SELECT id::text, status FROM orders_order").fetchall()
    return dict(rows)


def size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
