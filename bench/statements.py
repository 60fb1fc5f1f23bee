"""Counting the statements that a database is asked, by its own account of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

from bench.stores import Database, Mongo, Postgres

PROFILE_BYTES = 64 * 2**20
STATEMENT = re.compile(rb"LOG:  (?:statement|execute [^:]*):")


class Statements(Protocol):
    def begin(self) -> None:
        """Count from here on."""
        ...

    def count(self) -> int: ...


class PostgresStatements:
    """Reads PostgreSQL's log; the sessions that are to be counted begin after this is made."""

    def __init__(self, database: Postgres, log: Path) -> None:
        self._log = log
        self._from = 0
        database.connection.execute(f"ALTER DATABASE \"{database.name}\" SET log_statement = 'all'")

    def begin(self) -> None:
        self._from = self._log.stat().st_size

    def count(self) -> int:
        with self._log.open("rb") as file:
            file.seek(self._from)
            return len(STATEMENT.findall(file.read()))


class MongoStatements:
    """Reads MongoDB's profiler, which sees all but the commits."""

    def __init__(self, database: Mongo) -> None:
        self._db = database.db
        self._db.command("profile", 0)
        self._db.drop_collection("system.profile")
        self._db.create_collection("system.profile", capped=True, size=PROFILE_BYTES)

    def begin(self) -> None:
        self._db.command("profile", 2)

    def count(self) -> int:
        self._db.command("profile", 0)
        ours = {"ns": {"$ne": f"{self._db.name}.system.profile"}, "command.profile": None}
        return self._db["system.profile"].count_documents(ours)


def statements_of(database: Database, log: Path) -> Statements:
    if isinstance(database, Postgres):
        return PostgresStatements(database, log)
    assert isinstance(database, Mongo)  # noqa: S101 (there are two)
    return MongoStatements(database)
