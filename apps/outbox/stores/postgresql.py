"""The outbox on PostgreSQL."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
import structlog
from django.db import connection

from ..actions import sent_after_all
from ..failures import LeaseLost
from ..publish import NOTIFY_CHANNEL
from ..records import Row
from ..slots import SLOTS
from ..transactions import run_in_transaction
from . import Holding, Member, Page, Settlement, Share

log = structlog.get_logger(__name__)

JOIN = """
INSERT INTO outbox_relay_member (_id, started_at, expires_at)
VALUES (%(owner)s, clock_timestamp(), clock_timestamp() + make_interval(secs => %(seconds)s))
"""
MAKE_SLOTS = """
INSERT INTO outbox_relay_slot (_id, owner, epoch)
SELECT number, '', 0 FROM generate_series(0, %(last)s) AS number
ON CONFLICT (_id) DO NOTHING
"""
RENEW = """
UPDATE outbox_relay_member
SET expires_at = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE _id = %(owner)s
"""
MEMBERS = "SELECT _id, expires_at < clock_timestamp() FROM outbox_relay_member ORDER BY _id"
EVICT = "DELETE FROM outbox_relay_member WHERE _id = %(owner)s AND expires_at < clock_timestamp()"
LEAVE = "DELETE FROM outbox_relay_member WHERE _id = %(owner)s"
FREE = """
UPDATE outbox_relay_slot SET owner = ''
WHERE owner = %(owner)s AND NOT _id = ANY(%(wanted)s)
"""
# One statement, hence one moment: an owner without a row is dead, since it had one when it took
# the slot, and no name is used twice.
SLOTS_AND_OWNERS = """
SELECT slot._id, slot.owner, member._id IS NOT NULL
FROM outbox_relay_slot AS slot LEFT JOIN outbox_relay_member AS member ON member._id = slot.owner
ORDER BY slot._id
"""
# Only from the owner that was seen: had somebody alive taken the slot meanwhile, it stays theirs.
TAKE = """
UPDATE outbox_relay_slot AS slot SET owner = %(owner)s, epoch = slot.epoch + 1
FROM unnest(%(numbers)s::int[], %(owners)s::text[]) AS seen (number, owner)
WHERE slot._id = seen.number AND slot.owner = seen.owner
RETURNING slot._id
"""
# One statement sees one moment: never a version without the one that was committed before it.
PENDING = """
SELECT _id, topic, key, version, type, record, payload, headers,
       extract(epoch FROM occurred_at)::float8, aggregate_id, attempts, slot,
       due_at > clock_timestamp()
FROM outbox_event
WHERE state = 'pending' AND slot <= %(last_slot)s
      AND (slot, aggregate_id, version) >= (%(slot)s, %(aggregate_id)s, %(version)s)
ORDER BY slot, aggregate_id, version
LIMIT %(limit)s
"""
# Not "= 'pending'": that would offer the planner an index of all that waits, where the key is best.
PUBLISHED = """
UPDATE outbox_event SET state = 'published', published_at = clock_timestamp()
WHERE _id = ANY(%(ids)s::uuid[]) AND state <> 'dead'
"""
DEAD = """
UPDATE outbox_event SET state = 'dead', attempts = attempts + 1, last_error = dead.error
FROM unnest(%(ids)s::uuid[], %(errors)s::text[]) AS dead (id, error)
WHERE _id = dead.id AND state <> 'dead'
"""
DELAYED = """
UPDATE outbox_event
SET due_at = clock_timestamp() + make_interval(secs => late.seconds), attempts = attempts + 1,
    last_error = late.error
FROM unnest(%(ids)s::uuid[], %(seconds)s::float8[], %(errors)s::text[]) AS late (id, seconds, error)
WHERE _id = late.id AND state <> 'dead'
"""
BACKLOG = """
SELECT topic, min(occurred_at) FROM outbox_event
WHERE state = 'pending' AND slot = ANY(%(slots)s) GROUP BY topic
"""
CAPTURED = "SELECT EXISTS (SELECT 1 FROM outbox_event WHERE state = 'captured')"


class PostgresStore:
    """See `Store`."""

    def __init__(self) -> None:
        self._listener: psycopg.Connection[Any] | None = None

    def join(self, owner: str, seconds: float) -> None:
        run_in_transaction(lambda: self._join(owner, seconds))

    def renew(self, owner: str, seconds: float) -> None:
        if not _execute(RENEW, owner=owner, seconds=seconds):
            raise LeaseLost(owner)

    def members(self) -> list[Member]:
        return [Member(*values) for values in _fetch(MEMBERS)]

    def evict(self, owner: str) -> bool:
        return bool(_execute(EVICT, owner=owner))

    def leave(self, owner: str) -> None:
        run_in_transaction(lambda: self._leave(owner))

    def share_out(self, owner: str, seconds: float, wanted: range) -> Holding:
        return run_in_transaction(lambda: self._share_out(owner, seconds, wanted))

    def pending(self, page: Page, last_slot: int, limit: int) -> list[Row]:
        found = _fetch_binary(PENDING, **page._asdict(), last_slot=last_slot, limit=limit)
        # The driver reads a number ten times as fast as a time.
        return [
            Row._make((*values[:8], datetime.fromtimestamp(values[8], UTC), *values[9:]))
            for values in found
        ]

    def settle(self, owner: str, seconds: float, settlement: Settlement) -> bool:
        run_in_transaction(lambda: self._settle(owner, seconds, settlement))
        return True

    def backlog(self, slots: Sequence[int]) -> Mapping[str, datetime]:
        return dict(_fetch(BACKLOG, slots=list(slots)))

    def has_captured(self) -> bool:
        [(has_captured,)] = _fetch(CAPTURED)
        return bool(has_captured)

    def arm(self, shares: Sequence[Share]) -> None:
        """Listen for new rows, of whichever slot: a notification is one for the transaction."""
        del shares
        if self._listener is None:
            # Its own connection: the relay's is busy, and closed and opened again now and then.
            conn: Any = connection
            listener = conn.get_new_connection(conn.get_connection_params())
            listener.autocommit = True
            listener.execute(f"LISTEN {NOTIFY_CHANNEL}")
            self._listener = listener

    def wait(self, seconds: float, known: set[uuid.UUID]) -> bool:
        """Wait for a notification, or just wait when that fails: the next scan finds all rows."""
        known.clear()
        deadline = time.monotonic() + seconds
        try:
            if self._listener is not None:
                for _ in self._listener.notifies(timeout=seconds, stop_after=1):
                    return True
        except psycopg.Error as exc:
            log.info("outbox_listen_ended", error=str(exc))
            self.close()
        time.sleep(max(0.0, deadline - time.monotonic()))
        return False

    def close(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    def _join(self, owner: str, seconds: float) -> None:
        _execute(MAKE_SLOTS, last=SLOTS - 1)
        _execute(JOIN, owner=owner, seconds=seconds)

    def _leave(self, owner: str) -> None:
        _execute(LEAVE, owner=owner)
        _execute(FREE, owner=owner, wanted=[])

    def _share_out(self, owner: str, seconds: float, wanted: range) -> Holding:
        self.renew(owner, seconds)
        _execute(FREE, owner=owner, wanted=list(wanted))
        mine: list[int] = []
        free: dict[int, str] = {}
        for number, holder, is_alive in _fetch(SLOTS_AND_OWNERS):
            if number not in wanted:
                continue
            if holder == owner:
                mine.append(number)
            elif not is_alive:
                free[number] = holder
        taken: list[int] = []
        if free:
            parameters = {"numbers": list(free), "owners": list(free.values())}
            taken = [number for (number,) in _fetch(TAKE, owner=owner, **parameters)]
        return Holding(
            slots=tuple(sorted([*mine, *taken])),
            orphans=frozenset(number for number in taken if free[number]),
        )

    def _settle(self, owner: str, seconds: float, settlement: Settlement) -> None:
        self.renew(owner, seconds)
        if settlement.published:
            # An array as the server reads it: the driver would write each id by itself.
            published = ",".join([each.hex for each in settlement.published])
            marked = _execute(PUBLISHED, ids=f"{{{published}}}")
            if marked < len(settlement.published):
                sent_after_all(settlement.published)
        if settlement.dead:
            ids, errors = zip(*settlement.dead, strict=True)
            _execute(DEAD, ids=list(ids), errors=list(errors))
        if settlement.delayed:
            _execute(
                DELAYED,
                ids=[each.event_id for each in settlement.delayed],
                seconds=[each.seconds for each in settlement.delayed],
                errors=[each.error for each in settlement.delayed],
            )


def _execute(sql: str, **parameters: Any) -> int:  # noqa: ANN401 (what SQL takes)
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return int(cursor.rowcount)


def _fetch(sql: str, **parameters: Any) -> list[tuple[Any, ...]]:  # noqa: ANN401
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def _fetch_binary(sql: str, **parameters: Any) -> list[tuple[Any, ...]]:  # noqa: ANN401
    """Fetch without the detour over text, which takes the server and the driver twice as long.

    Django's own cursors put parameters into the text and know no binary results.
    """
    conn: Any = connection
    conn.ensure_connection()
    with conn.wrap_database_errors, psycopg.Cursor(conn.connection) as cursor:
        return cursor.execute(sql, parameters, binary=True).fetchall()
