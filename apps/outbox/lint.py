"""Comparing what runs for change data capture with what must run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.db import connection

from .connector import TABLE, Connect

# 3.6.0 and 3.6.1 pass over rows that share a position in the log (issue dbz#1554).
LOSING_VERSIONS = ("3.6.0", "3.6.1")
GIGABYTE = 1024**3
PROVIDED = "${"

WHY = {
    "snapshot.mode": "A snapshot would send the whole table again.",
    "publication.autocreate.mode": "Debezium would make a publication of tables not meant for it.",
    "publication.name": "It would read by a publication that nobody checks.",
    "slot.name": "It would read a slot that nobody guards.",
    "slot.drop.on.stop": "Rows written while the connector is stopped would be lost.",
    "offset.mismatch.strategy": "It would go on behind the gap of a slot that was made anew.",
    "table.include.list": "Other tables' rows are no events, and stop the router.",
    "skipped.operations": "Marking and pruning rows would be read as events.",
    "tombstones.on.delete": "Pruning a row would send a record without a value.",
    "heartbeat.interval.ms": "A quiet outbox would let PostgreSQL keep all of its log.",
    "heartbeat.action.query": "A quiet outbox would let PostgreSQL keep all of its log.",
    "errors.tolerance": "Rows that fail would be dropped without a word.",
    "value.converter": "Payloads would not arrive as they are.",
    "value.converter.delegate.converter.type": "The task would die at its first heartbeat.",
    "database.password": "Whoever reaches Connect's interface can read the password.",
}
OTHERWISE = "It is not what this service was tested with."
MEND = "run apply_connector."


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is not as it must be."""

    what: str
    why: str
    mend: str

    def __str__(self) -> str:
        return f"{self.what} {self.why} To mend it: {self.mend}"


def lint(connect: Connect, wanted: dict[str, str]) -> list[Finding]:
    """Return what is wrong with Connect, the connector, PostgreSQL and its slot.

    Raises:
        httpx.HTTPError: Connect is away.
        DatabaseError: PostgreSQL is away.
    """
    return [
        *_of_connect(connect),
        *_of_configuration(connect, wanted),
        *_of_server(),
        *_of_publication(wanted["publication.name"]),
        *_of_slot(wanted["slot.name"]),
    ]


def _of_connect(connect: Connect) -> Iterator[Finding]:
    version = connect.plugin_version()
    if version is None:
        yield Finding(
            what="Connect has no Debezium connector for PostgreSQL.",
            why="Nothing reads the outbox.",
            mend="put debezium-connector-postgres into its plugin.path.",
        )
    elif version.startswith(LOSING_VERSIONS):
        yield Finding(
            what=f"Connect runs Debezium {version}.",
            why="It loses rows that share a position in the log, as bulk inserts' do.",
            mend="install 3.7.0 or later.",
        )


def _of_configuration(connect: Connect, wanted: dict[str, str]) -> Iterator[Finding]:
    running = connect.running_configuration()
    if running is None:
        yield Finding(what="The connector does not exist.", why="Rows only wait.", mend=MEND)
        return
    for name in sorted(wanted.keys() | running.keys()):
        if running.get(name) != wanted.get(name):
            yield Finding(
                what=f"{name} is {_shown(name, running)} and must be {_shown(name, wanted)}.",
                why=WHY.get(name, OTHERWISE),
                mend=MEND,
            )
    if PROVIDED not in running.get("database.password", ""):
        yield Finding(
            what="database.password is the password itself.",
            why=WHY["database.password"],
            mend="let Connect look it up (config.providers), name it in OUTBOX_CONNECTOR_PASSWORD, "
            + MEND,
        )
    states = connect.states()
    if not states or set(states) != {"RUNNING"}:
        yield Finding(
            what=f"The connector and its task are {', '.join(states) or 'not known'}.",
            why="Rows only wait.",
            mend="look at its trace (GET /connectors/<name>/status), then " + MEND,
        )


def _shown(name: str, configuration: dict[str, str]) -> str:
    if name not in configuration:
        return "not set"
    return "another one" if name == "database.password" else repr(configuration[name])


def _of_server() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('wal_level'), setting::bigint * 1024 * 1024,"
            " (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user)"
            " FROM pg_settings WHERE name = 'max_slot_wal_keep_size'"
        )
        level, kept, may_replicate = cursor.fetchone()
    if level != "logical":
        yield Finding(
            what=f"wal_level is {level}.",
            why="Rows cannot be read from such a log.",
            mend="set wal_level=logical and restart PostgreSQL.",
        )
    if kept < 0:
        yield Finding(
            what="max_slot_wal_keep_size has no limit.",
            why="A connector that stays away fills the disk, and then nobody can write.",
            mend="set it to what the disk can spare, some gigabytes at the least.",
        )
    elif kept < GIGABYTE:
        yield Finding(
            what=f"max_slot_wal_keep_size is {kept // 1024**2} MB.",
            why="The slot is invalidated as soon as the connector is away for a short while.",
            mend="set it to some gigabytes.",
        )
    if not may_replicate:
        yield Finding(
            what="The database user may not replicate.",
            why="Debezium cannot read the slot.",
            mend="ALTER ROLE … REPLICATION, as a superuser.",
        )


def _of_publication(name: str) -> Iterator[Finding]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pubinsert, pubupdate OR pubdelete OR pubtruncate, puballtables, ARRAY("
            "   SELECT schemaname || '.' || tablename FROM pg_publication_tables AS published"
            "   WHERE published.pubname = publication.pubname)"
            " FROM pg_publication AS publication WHERE pubname = %s",
            [name],
        )
        found = cursor.fetchone()
    if found is None:
        yield Finding(what=f"There is no publication {name}.", why="No row is read.", mend=MEND)
        return
    inserts, others, is_of_all, tables = found
    mend = f"drop the publication {name}, then guard_slot --recover."
    if is_of_all or tables != [f"public.{TABLE}"]:
        yield Finding(
            what=f"The publication {name} is of {', '.join(tables) or 'no table'}.",
            why="It must be of the outbox alone: other rows are no events.",
            mend=mend,
        )
    if not inserts or others:
        yield Finding(
            what=f"The publication {name} publishes more or less than inserts.",
            why="Only a new row is an event.",
            mend=f"ALTER PUBLICATION {name} SET (publish = 'insert').",
        )


def _of_slot(name: str) -> Iterator[Finding]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT slot_type, plugin, database = current_database(), wal_status"
            " FROM pg_replication_slots WHERE slot_name = %s",
            [name],
        )
        found = cursor.fetchone()
    mend = "guard_slot --recover."
    if found is None:
        yield Finding(
            what=f"There is no slot {name}.", why="Rows written now are not kept for it.", mend=mend
        )
        return
    kind, plugin, is_here, wal_status = found
    if (kind, plugin, is_here) != ("logical", "pgoutput", True):
        yield Finding(
            what=f"The slot {name} is {kind}, of {plugin or 'no plugin'}.",
            why="Debezium reads a logical slot of pgoutput, of this database.",
            mend=mend,
        )
    if wal_status not in {"reserved", "extended"}:
        yield Finding(
            what=f"The slot {name} is {wal_status}.",
            why="PostgreSQL has removed, or is about to remove, log that it needs.",
            mend=mend,
        )
