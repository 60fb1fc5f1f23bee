"""What the sandbox remembers: one SQLite file in WAL mode, so that kill -9 loses nothing.

Every request that changes something is one transaction, its stored answer and its events
included: after a crash the money was taken and the answer is known, or neither.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.sandbox.objects import Body

KEY_LIFETIME_SECONDS = 24 * 3600
"""Stripe may forget an idempotency key after a day (docs.stripe.com/api/idempotent_requests)."""

TABLES = """
CREATE TABLE IF NOT EXISTS object (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    parent TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS object_kind ON object (kind, seq);
CREATE INDEX IF NOT EXISTS object_parent ON object (kind, parent, seq);
CREATE TABLE IF NOT EXISTS answer (
    key TEXT PRIMARY KEY,
    endpoint TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    request_id TEXT NOT NULL,
    status INTEGER NOT NULL,
    body TEXT NOT NULL,
    created REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS delivery (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL,
    due REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'pending',
    last_answer TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS delivery_due ON delivery (state, due, seq);
"""


class Store:
    """The file and the one lock in front of it.

    Args:
        directory: where sandbox.sqlite3 lies; made when it is not there.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._db = sqlite3.connect(
            directory / "sandbox.sqlite3", check_same_thread=False, isolation_level=None
        )
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(TABLES)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the lock and make what happens inside one change, or none."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what happens inside when it raises, within the open transaction."""
        self._db.execute("SAVEPOINT operation")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK TO operation")
            raise
        finally:
            self._db.execute("RELEASE operation")

    def put(self, body: Body, parent: str = "") -> None:
        """Insert the object, or replace it where it stands."""
        self._db.execute(
            "INSERT INTO object (id, kind, parent, body) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            (body["id"], body["object"], parent, json.dumps(body)),
        )

    def find(self, kind: str, object_id: str) -> Body | None:
        with self._lock:
            row = self._db.execute(
                "SELECT body FROM object WHERE id = ? AND kind = ?", (object_id, kind)
            ).fetchone()
        return None if row is None else json.loads(row[0])

    def page(  # noqa: PLR0913 (all named)
        self,
        kind: str,
        *,
        limit: int,
        after: str = "",
        before: str = "",
        parent: str = "",
        since: int = 0,
    ) -> tuple[list[Body], bool]:
        """Return the newest first, and whether there are more in that direction."""
        where: list[str] = ["kind = ?"]
        values: list[str | int] = [kind]
        if parent:
            where.append("parent = ?")
            values.append(parent)
        if since:
            where.append("json_extract(body, '$.created') >= ?")
            values.append(since)
        if after:
            where.append("seq < (SELECT seq FROM object WHERE id = ?)")
            values.append(after)
        if before:
            where.append("seq > (SELECT seq FROM object WHERE id = ?)")
            values.append(before)
        order = "ASC" if before else "DESC"
        with self._lock:
            rows = self._db.execute(
                f"SELECT body FROM object WHERE {' AND '.join(where)}"  # noqa: S608
                f" ORDER BY seq {order} LIMIT ?",
                (*values, limit + 1),
            ).fetchall()
        bodies = [json.loads(row[0]) for row in rows[:limit]]
        return bodies[::-1] if before else bodies, len(rows) > limit

    def find_answer(self, key: str) -> tuple[str, str, str, int, str] | None:
        """Return endpoint, fingerprint, request id, status and body stored under the key."""
        row: tuple[str, str, str, int, str] | None = self._db.execute(
            "SELECT endpoint, fingerprint, request_id, status, body FROM answer"
            " WHERE key = ? AND created > ?",
            (key, time.time() - KEY_LIFETIME_SECONDS),
        ).fetchone()
        return row

    def save_answer(self, key: str, row: tuple[str, str, str, int, str]) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO answer"
            " (key, endpoint, fingerprint, request_id, status, body, created)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (key, *row, time.time()),
        )

    def add_delivery(self, event_id: str, due: float) -> None:
        self._db.execute("INSERT INTO delivery (event_id, due) VALUES (?, ?)", (event_id, due))

    def due_deliveries(self, limit: int) -> list[tuple[int, str, int]]:
        """Return number, event and attempts of the deliveries whose time has come."""
        with self._lock:
            return self._db.execute(
                "SELECT seq, event_id, attempts FROM delivery"
                " WHERE state = 'pending' AND due <= ? ORDER BY due, seq LIMIT ?",
                (time.time(), limit),
            ).fetchall()

    def mark_delivery(self, seq: int, *, state: str, due: float, answer: str) -> None:
        with self._lock:
            self._db.execute(
                "UPDATE delivery SET state = ?, due = ?, attempts = attempts + 1, last_answer = ?"
                " WHERE seq = ?",
                (state, due, answer, seq),
            )

    def deliveries(self, limit: int = 500) -> list[Body]:
        """Return the newest deliveries, for tests and people."""
        with self._lock:
            rows = self._db.execute(
                "SELECT event_id, due, attempts, state, last_answer FROM delivery"
                " ORDER BY seq DESC LIMIT ?",
                (limit,),
            ).fetchall()
        names = ("event", "due", "attempts", "state", "last_answer")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def close(self) -> None:
        with self._lock:
            self._db.close()
