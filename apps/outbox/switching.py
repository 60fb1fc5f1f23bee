"""Changing between Debezium and the relay while writers write, losing and reordering nothing."""

from __future__ import annotations

from collections.abc import Callable

import orjson
import structlog
from confluent_kafka import TopicPartition
from django.db import connection
from django.utils import timezone

from . import kafka, slot_guard, takeover
from .conf import settings
from .connector import Connect, configuration, hand_to_relay, prepare, slot_name
from .models import OperatorAction, OutboxEvent, RelayMember, ReplicationSlot
from .raw import RawWorker, build_raw_worker, group_of
from .recovery import ROUNDS, drop_publication, drop_slot, wait_until
from .relay import build_relay
from .transactions import transactional


class RelayRuns(Exception):
    """A relay is at work that must not be."""


log = structlog.get_logger(__name__)

State = OutboxEvent.State
TIMEOUT_SECONDS = 600.0


def to_relay(connect: Connect, *, by: str, note: str = "", seconds: float = TIMEOUT_SECONDS) -> int:
    """Let the relay send everything from now on; the writers write for it already.

    Relays send no row that comes behind a captured one. So this waits until all captured rows are
    on their topics, marks them, and removes connector, slot and publication.

    Returns:
        How many rows Debezium had carried, which count as published now.

    Raises:
        NotInTime: Debezium or the raw worker does not get there; nothing is changed then.
    """
    slot = slot_name(settings.OUTBOX_CONNECTOR)
    _leave(slot)
    worker = build_raw_worker()
    worker.subscribe()
    try:
        while True:
            lsn, rows = _cut()
            wait_until(_carried(slot, lsn), "Debezium does not get on.", seconds)
            wait_until(_worked_off(worker, settings.OUTBOX_RAW_TOPIC), "Raw rows remain.", seconds)
            if _mark(rows, slot, by=by, note=note):
                break
            log.warning("writers_still_write_for_debezium", mend="set OUTBOX_TRANSPORT=relay")
    finally:
        worker.close()
    connect.stop()
    connect.delete()
    drop_slot(slot)
    drop_publication(slot)
    # A writer that was late: perhaps Debezium carried its rows, perhaps not. Twice does no harm.
    late = OutboxEvent.objects.filter(state=State.CAPTURED).update(state=State.PENDING)
    if late:
        log.warning("late_rows_handed_to_the_relay", rows=late)
    return rows


def to_debezium(
    connect: Connect, *, by: str, note: str = "", seconds: float = TIMEOUT_SECONDS
) -> int:
    """Let Debezium carry everything from now on; the writers still write for the relay.

    Relays must be stopped. A relay of this process sends what is older than the replication slot;
    then all that still waits is Debezium's, since the slot has kept it, and so is whatever the
    writers write for a relay until they are restarted. The order is that of the log throughout.

    Returns:
        How many rows waited for a relay and are Debezium's now.

    Raises:
        RelayRuns: a relay is still at work.
        NotInTime: rows from before the slot cannot be sent; the relays may go on.
    """
    name = settings.OUTBOX_CONNECTOR
    if RelayMember.objects.filter(expires_at__gt=timezone.now()).exists():
        raise RelayRuns("Stop relay_outbox first: its rows would overtake those of Debezium.")
    prepare(name)
    # A writer that was early: no slot has kept its rows.
    hand_to_relay(name)
    _send_what_is_older(seconds)
    rows = _flip(slot_name(name), by=by, note=note)
    connect.begin_anew(configuration(name, settings.OUTBOX_RAW_TOPIC))
    connect.await_running()
    return rows


def _send_what_is_older(seconds: float) -> None:
    """Send by a relay what waits now, in case that the slot was made after it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMPORARY TABLE older AS SELECT _id FROM outbox_event WHERE state = 'pending'"
        )
    relay = build_relay()

    def is_sent() -> bool:
        for _ in range(ROUNDS):
            if not relay.run_once():
                break
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT NOT EXISTS (SELECT 1 FROM older JOIN outbox_event USING (_id)"
                " WHERE state = 'pending')"
            )
            return bool(cursor.fetchone()[0])

    try:
        wait_until(is_sent, "Rows from before the slot still wait.", seconds)
    finally:
        relay.close()
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS older")


@transactional
def _flip(slot: str, *, by: str, note: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE outbox_event IN SHARE ROW EXCLUSIVE MODE")
    rows = OutboxEvent.objects.filter(state=State.PENDING).update(state=State.CAPTURED)
    slot_guard.adopt(slot)
    _note(slot, by, f"to debezium: {note}")
    return rows


@transactional
def _leave(slot: str) -> None:
    """Have raw workers take nothing over any more: what waits is the relay's."""
    facts = orjson.dumps({takeover.LEAVING: True, "mark": "", "stats_since": ""}).decode()
    ReplicationSlot.objects.filter(pk=slot).update(facts=facts)


@transactional
def _cut() -> tuple[str, int]:
    """Return a position of the log behind all captured rows, and how many they are.

    The lock waits for open transactions and keeps new ones out for this moment, so that no row
    is on its way.
    """
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE outbox_event IN SHARE ROW EXCLUSIVE MODE")
        cursor.execute(
            "SELECT pg_current_wal_insert_lsn()::text, count(*) FROM outbox_event"
            " WHERE state = 'captured'"
        )
        lsn, rows = cursor.fetchone()
    return lsn, rows


@transactional
def _mark(rows: int, slot: str, *, by: str, note: str) -> bool:
    """Count all captured rows as published, unless there are more than at the cut."""
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE outbox_event IN SHARE ROW EXCLUSIVE MODE")
    captured = OutboxEvent.objects.filter(state=State.CAPTURED)
    if captured.count() != rows:
        return False
    captured.update(state=State.PUBLISHED, published_at=timezone.now())
    ReplicationSlot.objects.filter(pk=slot).delete()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify('outbox_event', '')")
    _note(slot, by, f"to relay: {note}")
    return True


def _carried(slot: str, lsn: str) -> Callable[[], bool]:
    """Return a condition: Debezium has confirmed all up to this position."""

    def is_done() -> bool:
        confirmed = slot_guard.look(slot).confirmed_lsn
        return bool(confirmed) and slot_guard.number(confirmed) >= slot_guard.number(lsn)

    return is_done


def _worked_off(worker: RawWorker, raw_topic: str) -> Callable[[], bool]:
    """Return a condition: the raw workers have committed all that is on the raw topic now."""
    client = kafka.consumer(group_of(raw_topic))
    try:
        topic = client.list_topics(raw_topic, timeout=TIMEOUT_SECONDS).topics[raw_topic]
        places = [TopicPartition(raw_topic, number) for number in topic.partitions]
        ends = {
            place.partition: client.get_watermark_offsets(place, timeout=TIMEOUT_SECONDS)
            for place in places
        }
    finally:
        client.close()

    def is_done() -> bool:
        # Under load there is always more; what counts is what was there at the beginning.
        worker.run_once()
        asker = kafka.consumer(group_of(raw_topic))
        try:
            committed = asker.committed(places, TIMEOUT_SECONDS)
        finally:
            asker.close()
        return all(
            ends[each.partition][0] == ends[each.partition][1]
            or each.offset >= ends[each.partition][1]
            for each in committed
        )

    return is_done


def _note(slot: str, by: str, note: str) -> None:
    OperatorAction.objects.create(
        at=timezone.now(), by=by, action="switch_transport", target=slot, note=note
    )
