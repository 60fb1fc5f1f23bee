"""What the tests of operating share: rows as they come to be, in any state and of any age."""

from __future__ import annotations

import io
import uuid
from datetime import timedelta

import uuid6
from django.core.management import call_command
from django.utils import timezone

from apps.outbox import dead_letters
from apps.outbox.dead_letters import Failure, Record, Stage
from apps.outbox.models import DeadLetter, OutboxEvent, ParkedRecord
from apps.outbox.slots import slot_of


def uuid7_of(instant):
    """Return a UUIDv7 as it would have been made at that time."""
    number = uuid6.uuid7().int & ((1 << 80) - 1)
    return uuid.UUID(int=int(instant.timestamp() * 1000) << 80 | number)


def a_row(key=None, version=1, *, state="pending", age=0.0, **fields):
    """Insert an event of the outbox that occurred `age` seconds ago."""
    key = key or uuid.uuid4().hex
    occurred_at = timezone.now() - timedelta(seconds=age)
    known = {
        "id": uuid7_of(occurred_at),
        "topic": "test.gates",
        "key": key,
        "slot": slot_of(key),
        "aggregate_type": "gate",
        "aggregate_id": key,
        "version": version,
        "type": "test.gates.gate.opened.v1",
        "record": "test.gates.GateOpened",
        "payload": b"{}",
        "occurred_at": occurred_at,
        "due_at": occurred_at,
        "state": state,
        "attempts": int(state == "dead"),
        "published_at": occurred_at if state == "published" else None,
    }
    return OutboxEvent.objects.create(**known | fields)


def a_letter(topic="test.gates", key=b"gate-1", event_id="", offset=None, **fields):
    """Keep a dead letter of a consumer, or of a relay with stage=Stage.RELAY."""
    now = timezone.now()
    known = {
        "stage": Stage.CONSUMER,
        "group": "" if fields.get("stage") == Stage.RELAY else "readers",
        "kind": "handler",
        "message": "ValueError: no",
        "first_failed_at": now,
        "last_failed_at": now,
    }
    is_relay = fields.get("stage") == Stage.RELAY
    place = uuid.uuid4().int % 10**15 if offset is None else offset
    rec = Record(
        topic=topic,
        key=key,
        value=b"v",
        headers=(("ce_id", event_id.encode()),),
        partition=None if is_relay else 0,
        offset=None if is_relay else place,
    )
    letter_id = dead_letters.record(rec, Failure(**known | fields), event_id=event_id)
    return DeadLetter.objects.get(pk=letter_id)


def a_parked_record(topic="test.gates", key=b"gate-1", offset=0, **fields):
    known = {
        "id": f"readers/{topic}/0/{offset}",
        "group": "readers",
        "topic": topic,
        "partition": 0,
        "offset": offset,
        "key": key,
        "key_hash": key.hex(),
        "due_at": timezone.now(),
        "parked_at": timezone.now(),
    }
    return ParkedRecord.objects.create(**known | fields)


def run(*arguments, **options):
    """Run a command and return what it prints."""
    out = io.StringIO()
    call_command(*arguments, stdout=out, **options)
    return out.getvalue()
