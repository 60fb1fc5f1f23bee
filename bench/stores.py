"""The two databases, from below: no Django, so that nobody measures the harness."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Protocol

import psycopg
from bson import Binary
from psycopg import sql
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from bench.rows import COLUMNS, Load

TABLE = "outbox_event"
AT_ONCE = 2_000
SECONDS_FOR_A_SNAPSHOT = 30.0


class Database(Protocol):
    """A database of the benchmark's own, with the outbox's tables in it."""

    vendor: str
    name: str

    @property
    def environment(self) -> dict[str, str]:
        """What points a process at it."""
        ...

    def load(
        self,
        load: Load,
        *,
        state: str = "pending",
        table: str = TABLE,
        checkpoint: bool = True,
    ) -> None:
        """Empty the table and fill it; what the server would do about it later is done now."""
        ...

    def add(self, load: Load, *, state: str) -> None:
        """Fill the outbox further."""
        ...

    def remove(self, topic: str) -> None:
        """Take the rows of a topic away."""
        ...

    def waiting(self, table: str = TABLE) -> int:
        """Count the rows that wait."""
        ...

    def position(self) -> Any:  # noqa: ANN401
        """Say where the server's log of changes is."""
        ...

    def written_since(self, position: Any) -> int:  # noqa: ANN401
        """Return how many bytes of that log were written since."""
        ...

    def drop(self) -> None: ...


class Mongo:
    """See Database."""

    vendor = "mongodb"

    def __init__(self, environment: Mapping[str, str], name: str) -> None:
        self.name = name
        self.client: MongoClient[dict[str, Any]] = MongoClient(environment["MONGODB_URI"])
        self.db = self.client[name]

    @property
    def environment(self) -> dict[str, str]:
        return {"DJANGO_SETTINGS_MODULE": "bench.settings.mongodb", "MONGODB_DATABASE": self.name}

    def load(
        self,
        load: Load,
        *,
        state: str = "pending",
        table: str = TABLE,
        checkpoint: bool = True,
    ) -> None:
        self._empty(table)
        self._insert(load, state, table)
        self.settle(table, checkpoint=checkpoint)

    def add(self, load: Load, *, state: str) -> None:
        self._insert(load, state, TABLE)
        self.settle(TABLE)

    def remove(self, topic: str) -> None:
        self.db[TABLE].delete_many({"topic": topic})

    def waiting(self, table: str = TABLE) -> int:
        return self.db[table].count_documents({"state": "pending"})

    def position(self) -> Any:  # noqa: ANN401
        return self.client.admin.command("replSetGetStatus")["optimes"]["appliedOpTime"]["ts"]

    def written_since(self, position: Any) -> int:  # noqa: ANN401
        sizes = self.client["local"]["oplog.rs"].aggregate(
            [
                {"$match": {"ts": {"$gt": position}}},
                {"$group": {"_id": None, "bytes": {"$sum": {"$bsonSize": "$$ROOT"}}}},
            ]
        )
        return next((each["bytes"] for each in sizes), 0)

    def drop(self) -> None:
        self.client.drop_database(self.name)
        self.client.close()

    def settle(self, table: str, *, checkpoint: bool = True) -> None:
        """Let the checkpoint be over, and wait until a snapshot of a new collection can be read."""
        if checkpoint:
            self.client.admin.command("fsync")
        deadline = time.monotonic() + SECONDS_FOR_A_SNAPSHOT
        while True:
            try:
                with self.client.start_session(snapshot=True) as session:
                    self.db[table].find_one({}, session=session)
            except OperationFailure:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return

    def _empty(self, table: str) -> None:
        """Drop the collection and make it anew: quicker than deleting, and nothing is left over."""
        indexes = [each for each in self.db[table].list_indexes() if each["name"] != "_id_"]
        self.db[table].drop()
        self.db.create_collection(table)
        if indexes:
            specs = [{k: v for k, v in each.items() if k not in {"v", "ns"}} for each in indexes]
            self.db.command({"createIndexes": table, "indexes": specs})

    def _insert(self, load: Load, state: str, table: str) -> None:
        rows = load.rows(state)
        while batch := list(islice(rows, AT_ONCE)):
            documents = [dict(zip(COLUMNS, row, strict=True)) for row in batch]
            for document in documents:
                document["_id"] = document["_id"].hex
                document["payload"] = Binary(document["payload"])
            self.db[table].insert_many(documents, ordered=False)


class Postgres:
    """See Database."""

    vendor = "postgresql"

    def __init__(self, environment: Mapping[str, str], name: str) -> None:
        self.name = name
        self._url = environment["DATABASE_URL"].rpartition("/")[0]
        self.connection = self._connect("postgres")
        self.connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        self.connection.close()
        self.connection = self._connect(name)

    @property
    def url(self) -> str:
        return f"{self._url}/{self.name}"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "DJANGO_SETTINGS_MODULE": "bench.settings.postgresql",
            "DATABASE_URL": self.url,
            "OUTBOX_TRANSPORT": "relay",
        }

    def load(
        self,
        load: Load,
        *,
        state: str = "pending",
        table: str = TABLE,
        checkpoint: bool = True,
    ) -> None:
        self.connection.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(table)))
        self._copy(load.rows(state), table)
        self.settle(table, checkpoint=checkpoint)

    def load_one_a_transaction(self, load: Load, *, state: str) -> None:
        """Fill the outbox anew with a commit for each row, as services write them."""
        self.connection.execute(
            f"CREATE TABLE IF NOT EXISTS bench_staged (LIKE {TABLE});"
            f"ALTER TABLE bench_staged SET UNLOGGED; TRUNCATE bench_staged, {TABLE}"
        )
        self.connection.execute(
            "CREATE OR REPLACE PROCEDURE bench_write() LANGUAGE plpgsql AS $$"
            " DECLARE staged bench_staged; BEGIN FOR staged IN SELECT * FROM bench_staged LOOP"
            f" INSERT INTO {TABLE} VALUES (staged.*); COMMIT; END LOOP; END $$"
        )
        self._copy(load.rows(state), "bench_staged")
        self.connection.execute("SET synchronous_commit = off")
        self.connection.execute("CALL bench_write()")
        self.connection.execute("RESET synchronous_commit")
        self.connection.execute("TRUNCATE bench_staged")
        self.settle(TABLE)

    def add(self, load: Load, *, state: str) -> None:
        self._copy(load.rows(state), TABLE)
        self.settle(TABLE)

    def remove(self, topic: str) -> None:
        self.connection.execute(f"DELETE FROM {TABLE} WHERE topic = %s", [topic])

    def waiting(self, table: str = TABLE) -> int:
        query = sql.SQL("SELECT count(*) FROM {} WHERE state = 'pending'")
        [(count,)] = self.connection.execute(query.format(sql.Identifier(table))).fetchall()
        return count

    def position(self) -> Any:  # noqa: ANN401
        [(lsn,)] = self.connection.execute("SELECT pg_current_wal_insert_lsn()").fetchall()
        return lsn

    def written_since(self, position: Any) -> int:  # noqa: ANN401
        [(written,)] = self.connection.execute(
            "SELECT pg_current_wal_insert_lsn() - %s::pg_lsn", [position]
        ).fetchall()
        return int(written)

    def drop(self) -> None:
        self.connection.close()
        with self._connect("postgres") as connection:
            connection.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(self.name))
            )

    def settle(self, table: str, *, checkpoint: bool = True) -> None:
        """Do now what PostgreSQL would do in the midst of a run."""
        self.connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(table)))
        if checkpoint:
            self.connection.execute("CHECKPOINT")

    def _connect(self, name: str) -> psycopg.Connection[Any]:
        # Statements of the harness are not to be counted among those of a relay.
        return psycopg.connect(
            f"{self._url}/{name}", autocommit=True, options="-c log_statement=none"
        )

    def _copy(self, rows: Iterable[tuple[Any, ...]], table: str) -> None:
        names = sql.SQL(", ").join(sql.Identifier(name) for name in COLUMNS)
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), names)
        with self.connection.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
