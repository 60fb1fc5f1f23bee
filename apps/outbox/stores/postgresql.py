"""The outbox on PostgreSQL."""

from __future__ import annotations

import time
import uuid
from typing import Any

import psycopg
import structlog
from django.db import connection

from apps.outbox.models import OutboxEvent
from apps.outbox.publish import NOTIFY_CHANNEL
from apps.outbox.records import Row
from apps.outbox.stores import Lease, LeaseLost, Page, Settlement
from apps.outbox.transactions import run_in_transaction

log = structlog.get_logger(__name__)

State = OutboxEvent.State

ACQUIRE = """
INSERT INTO outbox_relay_lease AS held (_id, owner, epoch, expires_at)
VALUES (%(name)s, %(owner)s, 1, clock_timestamp() + make_interval(secs => %(seconds)s))
ON CONFLICT (_id) DO UPDATE
SET owner = excluded.owner, epoch = held.epoch + 1, expires_at = excluded.expires_at
WHERE held.expires_at < clock_timestamp()
RETURNING epoch
"""
RENEW = """
UPDATE outbox_relay_lease
SET expires_at = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE _id = %(name)s AND owner = %(owner)s AND epoch = %(epoch)s
"""
RELEASE = """
UPDATE outbox_relay_lease SET expires_at = 'epoch'
WHERE _id = %(name)s AND owner = %(owner)s AND epoch = %(epoch)s
"""
# One statement sees one moment: never a version without the one that was committed before it.
PENDING = """
SELECT _id, topic, key, version, type, record, payload, headers, occurred_at, aggregate_id,
       attempts, due_at
FROM outbox_event
WHERE state = 'pending' AND {beyond}
ORDER BY aggregate_id, version
LIMIT %(limit)s
"""
PUBLISHED = """
UPDATE outbox_event SET state = 'published', published_at = clock_timestamp()
WHERE _id = ANY(%(ids)s)
"""
DEAD = """
UPDATE outbox_event SET state = 'dead', attempts = attempts + 1, last_error = %(error)s
WHERE _id = %(id)s
"""
DELAYED = """
UPDATE outbox_event SET due_at = %(due_at)s, attempts = attempts + 1, last_error = %(error)s
WHERE _id = %(id)s
"""


class PostgresStore:
    """See `Store`.

    Args:
        name: of the lease.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._listener: psycopg.Connection[Any] | None = None

    def acquire(self, owner: str, seconds: float) -> Lease | None:
        with connection.cursor() as cursor:
            cursor.execute(ACQUIRE, {"name": self._name, "owner": owner, "seconds": seconds})
            taken = cursor.fetchone()
        return None if taken is None else Lease(owner=owner, epoch=taken[0])

    def renew(self, lease: Lease, seconds: float) -> None:
        with connection.cursor() as cursor:
            cursor.execute(RENEW, self._lease(lease) | {"seconds": seconds})
            if not cursor.rowcount:
                raise LeaseLost(f"{lease.owner} (epoch {lease.epoch})")

    def release(self, lease: Lease) -> None:
        with connection.cursor() as cursor:
            cursor.execute(RELEASE, self._lease(lease))

    def pending(self, page: Page | None, limit: int) -> list[Row]:
        beyond = "true"
        if page is not None:
            beyond = f"aggregate_id {'>=' if page.is_unfinished else '>'} %(after)s"
        parameters: dict[str, str | int] = {"limit": limit, "after": page.after if page else ""}
        with connection.cursor() as cursor:
            cursor.execute(PENDING.format(beyond=beyond), parameters)
            return [_row(values) for values in cursor.fetchall()]

    def settle(self, lease: Lease, seconds: float, settlement: Settlement) -> None:
        run_in_transaction(lambda: self._settle(lease, seconds, settlement))

    def arm(self) -> None:
        if self._listener is None:
            # Its own connection: the relay's is busy, and closed and opened again now and then.
            conn: Any = connection
            listener = conn.get_new_connection(conn.get_connection_params())
            listener.autocommit = True
            listener.execute(f"LISTEN {NOTIFY_CHANNEL}")
            self._listener = listener

    def wait(self, seconds: float, known: set[uuid.UUID]) -> None:
        """Wait for a notification, or just wait when that fails: the next scan finds all rows."""
        known.clear()
        deadline = time.monotonic() + seconds
        try:
            if self._listener is not None:
                for _ in self._listener.notifies(timeout=seconds, stop_after=1):
                    pass
                for _ in self._listener.notifies(timeout=0):  # whatever else has come meanwhile
                    pass
        except psycopg.Error as exc:
            log.info("outbox_listen_ended", error=str(exc))
            self.close()
            time.sleep(max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    def _settle(self, lease: Lease, seconds: float, settlement: Settlement) -> None:
        self.renew(lease, seconds)
        with connection.cursor() as cursor:
            if settlement.published:
                cursor.execute(PUBLISHED, {"ids": settlement.published})
            for event_id, error in settlement.dead:
                cursor.execute(DEAD, {"id": event_id, "error": error})
            for delay in settlement.delayed:
                cursor.execute(
                    DELAYED, {"id": delay.event_id, "due_at": delay.due_at, "error": delay.error}
                )

    def _lease(self, lease: Lease) -> dict[str, Any]:
        return {"name": self._name, "owner": lease.owner, "epoch": lease.epoch}


def _row(values: tuple[Any, ...]) -> Row:
    event_id, topic, key, version, type_, record, payload, headers, occurred_at, *rest = values
    aggregate_id, attempts, due_at = rest
    return Row(
        event_id=event_id,
        topic=topic,
        key=key,
        version=version,
        type=type_,
        record=record,
        payload=bytes(payload),
        headers=headers,
        occurred_at=occurred_at,
        aggregate_id=aggregate_id,
        attempts=attempts,
        due_at=due_at,
    )
