"""After a replication slot was lost: a new one, and all rows that the old one may have missed.

Nothing is lost by a crash in between, since the fault stays until the rows are handed over, and
each step may run twice. Rows are sent twice rather than not at all, each key in its order.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

import structlog
from confluent_kafka import TopicPartition
from django.db import DatabaseError, connection
from django.utils import timezone

from . import kafka, slot_guard
from .conf import settings
from .connector import Connect, configuration, prepare, slot_name
from .models import OperatorAction, OutboxEvent, ReplicationSlot
from .raw import group_of
from .recent import header_of
from .relay import build_relay
from .transactions import transactional

log = structlog.get_logger(__name__)

State = OutboxEvent.State
TIMEOUT_SECONDS = 60.0
PAUSE_SECONDS = 0.2
ROUNDS = 100
DRAIN_SECONDS = 3600.0


class NotInTime(Exception):
    """Something did not happen within the time that was given to it."""


def recover(connect: Connect, *, by: str, note: str) -> int:
    """Make the slot anew, send what the old one may have missed, and start the connector again.

    Returns:
        How many rows were handed to a relay, which has sent them.

    Raises:
        ConnectorFailed: Connect does not do what it is told.
        NotInTime: the relay could not send all rows; call this again.
    """
    name = settings.OUTBOX_CONNECTOR
    slot = slot_name(name)
    connect.stop()
    since = surely_sent_until()
    drop_slot(slot)
    drop_publication(slot)
    prepare(name)
    rows = _hand_over(slot, since, by=by, note=note)
    drain()
    connect.begin_anew(configuration(name, settings.OUTBOX_RAW_TOPIC))
    connect.await_running()
    return rows


def accept_loss(*, by: str, note: str) -> None:
    """Go on with the slot as it is, whatever it has missed."""
    slot = slot_name(settings.OUTBOX_CONNECTOR)
    _accept(slot, by=by, note=note)


@transactional
def _accept(slot: str, *, by: str, note: str) -> None:
    fault = ReplicationSlot.objects.get(pk=slot).fault
    slot_guard.adopt(slot)
    _note("accept_slot_loss", slot, by, f"{note} ({fault})")


def surely_sent_until() -> datetime | None:
    """Return until when captured rows, by their `occurred_at`, are surely on their topics.

    They are on the raw topic up to what the guard has seen confirmed, and on their own topics up
    to what no raw worker has committed yet. None means that nothing is sure.
    """
    known = ReplicationSlot.objects.filter(pk=slot_name(settings.OUTBOX_CONNECTOR)).first()
    if known is None or known.confirmed_at is None:
        return None
    return min([known.confirmed_at, *_not_worked_yet(settings.OUTBOX_RAW_TOPIC)]) - (
        slot_guard.MARGIN
    )


def drop_slot(slot: str) -> None:
    """Drop the slot, once the connector has let go of it."""

    def drop() -> bool:
        try:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                    " WHERE slot_name = %s",
                    [slot],
                )
        except DatabaseError as exc:
            log.info("replication_slot_in_use", slot=slot, error=str(exc))
            return False
        return True

    wait_until(drop, f"The slot {slot} stays in use.")


def drop_publication(slot: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f'DROP PUBLICATION IF EXISTS "{slot}"')


def drain(seconds: float = DRAIN_SECONDS) -> None:
    """Send what waits for a relay, here and now."""
    waiting = OutboxEvent.objects.filter(state=State.PENDING)
    if not waiting.exists():
        return
    relay = build_relay()

    def step() -> bool:
        for _ in range(ROUNDS):
            if not relay.run_once():
                break
        return not waiting.exists()

    try:
        wait_until(step, "Rows still wait for a relay.", seconds)
    finally:
        relay.close()


def wait_until(
    condition: Callable[[], bool], otherwise: str, seconds: float = TIMEOUT_SECONDS
) -> None:
    """Call the condition until it holds.

    Raises:
        NotInTime: it does not in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise NotInTime(f"{otherwise} Waited for {seconds:.0f} s.")
        time.sleep(PAUSE_SECONDS)


@transactional
def _hand_over(slot: str, since: datetime | None, *, by: str, note: str) -> int:
    """Give a relay all rows that may not be on their topics, and know the new slot."""
    rows = OutboxEvent.objects.filter(state=State.CAPTURED)
    if since is not None:
        rows = rows.filter(occurred_at__gte=since)
    known = ReplicationSlot.objects.filter(pk=slot).first()
    count = rows.update(state=State.PENDING)
    slot_guard.adopt(slot)
    _note(
        "recover_slot",
        slot,
        by,
        f"{note} ({known.fault if known else ''} {count} rows from {since or 'the first'} on.)",
    )
    return count


def _note(action: str, target: str, by: str, note: str) -> None:
    OperatorAction.objects.create(
        at=timezone.now(), by=by, action=action, target=target, note=note.strip()
    )


def _not_worked_yet(raw_topic: str) -> list[datetime]:
    """Return of each partition when the first row happened that no worker has committed."""
    client = kafka.consumer(group_of(raw_topic))
    try:
        topic = client.list_topics(raw_topic, timeout=TIMEOUT_SECONDS).topics[raw_topic]
        begun = client.committed(
            [TopicPartition(raw_topic, number) for number in topic.partitions], TIMEOUT_SECONDS
        )
        found = []
        for place in begun:
            low, high = client.get_watermark_offsets(place, timeout=TIMEOUT_SECONDS)
            first = max(low, place.offset)
            if first >= high:
                continue
            client.assign([TopicPartition(raw_topic, place.partition, first)])
            message = client.poll(TIMEOUT_SECONDS)
            occurred_at = message and header_of(message, "occurred_at")
            if occurred_at:
                found.append(datetime.fromisoformat(occurred_at.decode()))
        return found
    finally:
        client.close()
