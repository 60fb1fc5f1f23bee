"""Watching the replication slot that change data capture reads (PostgreSQL).

A slot that was lost, or dropped and made anew, has a gap before it: rows were committed that no
slot kept, and nothing in PostgreSQL or Connect says so afterwards. So the guard puts a mark on
each slot that it knows, which a new slot of the same name does not have, and compares how far the
slot is with how far Connect has confirmed. A fault stays until an operator has dealt with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx
import orjson
import structlog
from django.db import ProgrammingError, connection

from . import metrics
from .conf import settings
from .connector import connect_from_settings, slot_name
from .models import ReplicationSlot

log = structlog.get_logger(__name__)

MISSING = "missing"
# How much later than its event a row may be committed, clocks that differ included.
MARGIN = timedelta(hours=1)

SLOT = """
SELECT slot.confirmed_flush_lsn::text, slot.wal_status, slot.active,
       (pg_current_wal_insert_lsn() - slot.confirmed_flush_lsn)::bigint,
       extract(epoch FROM used.stats_reset)::text
FROM pg_replication_slots AS slot
LEFT JOIN pg_stat_replication_slots AS used USING (slot_name)
WHERE slot_name = %s AND slot_type = 'logical' AND database = current_database()
"""
# Statistics of slots die with a server that crashes, and then those of the archiver, too.
SERVER = """
SELECT pg_current_wal_insert_lsn()::text,
       (SELECT extract(epoch FROM stats_reset)::text FROM pg_stat_archiver)
"""


@dataclass(frozen=True, kw_only=True)
class SlotReport:
    """What was seen of the slot.

    Args:
        lag_bytes: of PostgreSQL's log that Debezium has not confirmed; None without a slot.
        wal_status: reserved, extended, unreserved or lost, as PostgreSQL says, or missing.
        fault: why nobody may go on as if nothing was lost; empty while all is well.
        confirmed_at: all rows committed before this are on the raw topic.
    """

    name: str
    lag_bytes: int | None
    wal_status: str
    is_active: bool
    fault: str
    confirmed_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Sight:
    """The slot and its server at one moment.

    Args:
        insert_lsn: how far the server's log was written, before anything else was looked at.
    """

    at: datetime
    insert_lsn: str
    stats_since: str
    confirmed_lsn: str = ""
    wal_status: str = MISSING
    is_active: bool = False
    lag_bytes: int | None = None
    mark: str = ""

    @property
    def exists(self) -> bool:
        return self.wal_status != MISSING


def observe(*, connect_offset: Callable[[], int | None] | None = None) -> SlotReport | None:
    """Look at the slot, keep what was seen, and return it; None where no slot is used.

    Args:
        connect_offset: returns how far Connect has confirmed, as a number, if anybody knows.

    Raises:
        DatabaseError: PostgreSQL is away.
    """
    if connection.vendor != "postgresql" or settings.OUTBOX_TRANSPORT != "debezium":
        return None
    name = slot_name(settings.OUTBOX_CONNECTOR)
    sight = look(name)
    # Connect confirms behind the server's log and before the slot. So the slot is looked at before
    # Connect, and the end of the log after it: both may go on meanwhile.
    offset = (connect_offset or confirmed_by_connect)()
    written_lsn = end_of_log()
    known = ReplicationSlot.objects.filter(pk=name).first()
    if known is None:
        known = adopt(name) if sight.exists else None
    else:
        _compare(known, sight, offset, written_lsn)
    report = SlotReport(
        name=name,
        lag_bytes=sight.lag_bytes,
        wal_status=sight.wal_status,
        is_active=sight.is_active,
        fault=known.fault if known else "",
        confirmed_at=known.confirmed_at if known else None,
    )
    metrics.slot_lag.labels(name).set(sight.lag_bytes or 0)
    metrics.slot_fault.labels(name).set(bool(report.fault))
    if report.fault:
        log.error("replication_slot_fault", slot=name, fault=report.fault)
    return report


def fault() -> str:
    """Look at the slot and return its fault, or nothing."""
    report = observe()
    return report.fault if report else ""


def confirmed_until() -> datetime | None:
    """Return until when captured rows, by their `occurred_at`, are surely on the raw topic.

    None means that nothing is known. Whoever prunes captured rows keeps all that are younger.
    """
    known = ReplicationSlot.objects.filter(fault="", confirmed_at__isnull=False).first()
    return known.confirmed_at - MARGIN if known and known.confirmed_at else None


def adopt(name: str) -> ReplicationSlot:
    """Know the slot from now on, as one without a gap before it.

    Its statistics are reset, since the time of that is the mark: it outlives a restart of the
    server, and dies with the slot.
    """
    sight = look(name)
    mark = _put_mark(name)
    known, _ = ReplicationSlot.objects.update_or_create(
        pk=name,
        defaults={
            "confirmed_lsn": sight.confirmed_lsn,
            "checkpoint_lsn": sight.insert_lsn,
            "checkpoint_at": sight.at,
            "confirmed_at": None,
            "observed_at": sight.at,
            "facts": _facts(mark, sight),
            "fault": "",
        },
    )
    log.info("replication_slot_adopted", slot=name, confirmed_lsn=sight.confirmed_lsn, mark=mark)
    return known


def look(name: str) -> Sight:
    """Return what PostgreSQL says about the slot now."""
    with connection.cursor() as cursor:
        # The time first: what was committed before it lies before the position read after it.
        cursor.execute("SELECT clock_timestamp()")
        (at,) = cursor.fetchone()
        cursor.execute(SERVER)
        insert_lsn, stats_since = cursor.fetchone()
        cursor.execute(SLOT, [name])
        found = cursor.fetchone()
    if found is None:
        return Sight(at=at, insert_lsn=insert_lsn, stats_since=stats_since)
    confirmed_lsn, wal_status, is_active, lag, mark = found
    return Sight(
        at=at,
        insert_lsn=insert_lsn,
        stats_since=stats_since,
        confirmed_lsn=confirmed_lsn or "",
        wal_status=wal_status or "lost",
        is_active=is_active,
        lag_bytes=lag,
        mark=mark or "",
    )


def end_of_log() -> str:
    """Return how far the server's log is written now."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_insert_lsn()::text")
        [(lsn,)] = cursor.fetchall()
    return str(lsn)


def confirmed_by_connect() -> int | None:
    """Return how far Connect has confirmed the connector's rows; None if it cannot tell."""
    connect = connect_from_settings()
    try:
        return connect.confirmed_lsn()
    except httpx.HTTPError as exc:
        log.warning("connect_does_not_answer", error=str(exc))
        return None
    finally:
        connect.close()


def number(lsn: str) -> int:
    """Return PostgreSQL's 0/1A2B3C4D as the number that Debezium writes."""
    high, low = lsn.split("/")
    return (int(high, 16) << 32) | int(low, 16)


def _compare(known: ReplicationSlot, sight: Sight, offset: int | None, written_lsn: str) -> None:
    """Set the slot's fault if there is one, and take note of how far it is."""
    facts = known.facts
    mark = orjson.loads(facts)["mark"]
    known.fault = known.fault or _fault(orjson.loads(facts), sight, offset, written_lsn)
    if not known.fault:
        if sight.mark != mark and offset is not None:
            # The server crashed and took the mark along. Connect has confirmed all up to the slot.
            facts = _facts(_put_mark(known.pk), sight)
        elif sight.mark == mark:
            facts = _facts(sight.mark, sight)
        known.confirmed_lsn = sight.confirmed_lsn
        if number(sight.confirmed_lsn) >= number(known.checkpoint_lsn):
            known.confirmed_at = known.checkpoint_at
            known.checkpoint_at, known.checkpoint_lsn = sight.at, sight.insert_lsn
    # Not over a fault that somebody else has found, nor over what an operator has just mended.
    changed = ReplicationSlot.objects.filter(
        pk=known.pk, fault="", observed_at=known.observed_at
    ).update(
        confirmed_lsn=known.confirmed_lsn,
        checkpoint_lsn=known.checkpoint_lsn,
        checkpoint_at=known.checkpoint_at,
        confirmed_at=known.confirmed_at,
        observed_at=sight.at,
        facts=facts,
        fault=known.fault,
    )
    if not changed:
        known.refresh_from_db()


def _fault(facts: dict[str, str], sight: Sight, offset: int | None, written_lsn: str) -> str:
    if not sight.exists:
        return "The replication slot is gone: rows committed since then were not kept for it."
    if sight.wal_status == "lost" or not sight.confirmed_lsn:
        return (
            "PostgreSQL has removed log that the slot had not read (max_slot_wal_keep_size), and "
            "with it rows."
        )
    if sight.mark != facts["mark"] and sight.stats_since == facts["stats_since"]:
        return (
            "The slot is not the one that was watched: it was dropped and made again, and rows "
            "committed in between were not kept. (Or somebody has reset its statistics.)"
        )
    if offset is not None and number(sight.confirmed_lsn) > offset:
        return (
            f"The slot stands at {sight.confirmed_lsn}, further than Connect has confirmed: it was "
            "made again or moved by hand, and rows in between were passed over."
        )
    if offset is not None and offset > number(written_lsn):
        return (
            "Connect has confirmed what this server has not written yet: it was restored from an "
            "earlier time, and Debezium would pass over its new rows."
        )
    return ""


def _put_mark(name: str) -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_stat_reset_replication_slot(%s)", [name])
            # Within a transaction, statistics that were read once stay as they were.
            cursor.execute("SELECT pg_stat_clear_snapshot()")
    except ProgrammingError as exc:
        # Without the right to, a slot made anew is told by Connect's position alone.
        log.warning("replication_slot_not_marked", slot=name, error=str(exc))
    return look(name).mark


def _facts(mark: str, sight: Sight) -> str:
    return orjson.dumps({"mark": mark, "stats_since": sight.stats_since}).decode()
