"""The strongest simple relay, to be measured against: one leader, no leases, no error kinds.

It reads batches of 2,000 along an index made for that, encodes the next one while Kafka takes the
one before, and a second thread marks each batch by one update after the brokers' acknowledgement.
It loses nothing and keeps the order of each key, as long as nobody starts a second one.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
import uuid
from datetime import UTC, datetime
from typing import Any, Protocol

import psycopg
from pymongo import MongoClient

from bench.sending import Counter, Encoder, producer

BATCH = 2_000
PAUSE = 0.003
MARKS_BEHIND = 2
TABLE = "bench_simple"
# A fit index, and nothing of ours but the unique version that any outbox has.
POSTGRES_TABLE = f"""
CREATE TABLE IF NOT EXISTS {TABLE} (LIKE outbox_event INCLUDING DEFAULTS);
ALTER TABLE {TABLE} ADD PRIMARY KEY (_id);
CREATE UNIQUE INDEX ON {TABLE} (aggregate_type, aggregate_id, version);
CREATE INDEX ON {TABLE} (aggregate_id, version) WHERE state = 'pending';
"""
POSTGRES_PENDING = f"""
SELECT _id, topic, key, version, type, payload, headers, occurred_at, aggregate_id FROM {TABLE}
WHERE state = 'pending' AND (aggregate_id, version) > (%s, %s)
ORDER BY aggregate_id, version LIMIT {BATCH}
"""
POSTGRES_MARK = (
    f"UPDATE {TABLE} SET state = 'published', published_at = clock_timestamp() WHERE _id = ANY(%s)"
)
Place = tuple[str, int]
START: Place = ("", 0)
Row = tuple[Any, str, str, int, str, bytes, str, datetime, str]
Ids = list[Any]


class Outbox(Protocol):
    def pending(self, after: Place) -> list[Row]: ...
    def mark(self, ids: Ids) -> None: ...


class PostgresOutbox:
    def __init__(self) -> None:
        url = os.environ["DATABASE_URL"]
        self._reader = psycopg.connect(url, autocommit=True)
        self._marker = psycopg.connect(url, autocommit=True)

    def pending(self, after: Place) -> list[Row]:
        cursor = self._reader.cursor(binary=True)
        return cursor.execute(POSTGRES_PENDING, after).fetchall()

    def mark(self, ids: Ids) -> None:
        self._marker.execute(POSTGRES_MARK, [ids])


class MongoOutbox:
    def __init__(self) -> None:
        self._client: MongoClient[dict[str, Any]] = MongoClient(os.environ["MONGODB_URI"])
        self._rows = self._client[os.environ["MONGODB_DATABASE"]][TABLE]

    def pending(self, after: Place) -> list[Row]:
        key, version = after
        beyond = {"aggregate_id": {"$gte": key}, "state": "pending"}
        if key:
            beyond["$or"] = [
                {"aggregate_id": {"$gt": key}},
                {"aggregate_id": key, "version": {"$gt": version}},
            ]
        # Of one moment: a scan without a snapshot can miss a version and find the one behind it.
        with self._client.start_session(snapshot=True) as session:
            found = (
                self._rows.find(beyond, FIELDS, session=session)
                .sort([("aggregate_id", 1), ("version", 1)])
                .hint("waiting")
                .limit(BATCH)
                .batch_size(BATCH)
            )
            return [tuple(each[name] for name in FIELDS) for each in found]

    def mark(self, ids: Ids) -> None:
        self._rows.update_many(
            {"_id": {"$in": ids}},
            {"$set": {"state": "published", "published_at": datetime.now(UTC)}},
        )


FIELDS = (
    *("_id", "topic", "key", "version", "type", "payload", "headers", "occurred_at"),
    "aggregate_id",
)


class SimpleRelay:
    """Sends what waits in the outbox, again and again.

    Args:
        outbox: where the rows are.
        encoder: makes the records.
    """

    def __init__(self, outbox: Outbox, encoder: Encoder) -> None:
        self._outbox = outbox
        self._encoder = encoder
        self._producer = producer(os.environ["KAFKA_BOOTSTRAP_SERVERS"])
        self._counter = Counter()
        self._sent = 0
        self._to_mark: queue.Queue[Ids] = queue.Queue(MARKS_BEHIND)

    def run(self) -> None:
        threading.Thread(target=self._mark, daemon=True).start()
        while True:
            if not self._round():
                time.sleep(PAUSE)

    def _round(self) -> bool:
        """Send all that waits, each batch read and encoded while Kafka takes the one before."""
        after = START
        in_flight: Ids = []
        while rows := self._outbox.pending(after):
            records = [self._record(row) for row in rows]
            self._acknowledged(in_flight)
            for record in records:
                self._producer.produce(**record)
            self._sent += len(records)
            in_flight = [row[0] for row in rows]
            after = (rows[-1][-1], rows[-1][3])
            self._producer.poll(0)
        self._acknowledged(in_flight)
        # The next read begins anew, and must not find what is only not marked yet.
        self._to_mark.join()
        return after != START

    def _acknowledged(self, ids: Ids) -> None:
        while self._counter.acknowledged < self._sent:
            self._producer.poll(0.01)
        if ids:
            self._to_mark.put(ids)

    def _record(self, row: Row) -> dict[str, Any]:
        event_id, topic, key, version, kind, payload, extra, occurred_at, subject = row
        name = str(event_id if isinstance(event_id, uuid.UUID) else uuid.UUID(hex=event_id))
        return {
            "topic": topic,
            "key": key,
            "value": self._encoder.value(payload),
            "headers": self._encoder.headers((name, kind, occurred_at, subject, version, extra)),
            "on_delivery": self._counter,
        }

    def _mark(self) -> None:
        while True:
            self._outbox.mark(self._to_mark.get())
            self._to_mark.task_done()


if __name__ == "__main__":
    outbox = MongoOutbox() if sys.argv[1] == "mongodb" else PostgresOutbox()
    SimpleRelay(outbox, Encoder(int(sys.argv[2]))).run()
