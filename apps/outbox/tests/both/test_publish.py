from __future__ import annotations

import enum
import uuid
from datetime import datetime

import orjson
import pytest
from django.db import IntegrityError
from django.utils import timezone

from apps.outbox.context import Trace, traced
from apps.outbox.models import OutboxEvent
from apps.outbox.publish import InvalidEvent, publish
from apps.outbox.tests.sending import OPENED_AT, RECORD, event_class, publish_all
from apps.outbox.transactions import TransactionRequired, run_in_transaction

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("gates")]

GateOpened = event_class()


class Keeper(enum.StrEnum):
    DAY = "day keeper"


def test_event_becomes_a_row():
    gate_id = uuid.uuid4().hex
    before = timezone.now().replace(microsecond=0)

    [event_id] = publish_all(GateOpened(gate_id=gate_id, version=3, keeper="Zoë"))

    row = OutboxEvent.objects.get(pk=event_id)
    assert (row.topic, row.key, row.aggregate_type) == ("test.gates", gate_id, "gate")
    assert (row.aggregate_id, row.version) == (gate_id, 3)
    assert (row.type, row.record) == ("test.gates.gate.opened.v1", RECORD)
    assert (row.state, row.attempts, row.published_at) == (OutboxEvent.State.PENDING, 0, None)
    assert before <= row.occurred_at <= timezone.now()
    assert orjson.loads(bytes(row.payload)) == {
        "gate_id": gate_id,
        "version": 3,
        "width_cm": 90,
        "opened_at": int(OPENED_AT.timestamp() * 1000),
        "keeper": "Zoë",
    }


def test_event_ids_grow_with_time():
    first, second = publish_all(GateOpened(gate_id="a"), GateOpened(gate_id="b"))

    assert first.version == 7
    assert first < second


def test_enumerated_value_is_sent_as_its_value():
    [event_id] = publish_all(GateOpened(gate_id="a", keeper=Keeper.DAY))

    row = OutboxEvent.objects.get(pk=event_id)
    assert orjson.loads(bytes(row.payload))["keeper"] == "day keeper"


def test_event_carries_the_trace_of_the_work_in_hand():
    trace = Trace(correlation_id="request-1", causation_id="event-1", traceparent="00-ab-cd-01")

    with traced(trace):
        [event_id] = publish_all(GateOpened(gate_id="a"))

    assert orjson.loads(OutboxEvent.objects.get(pk=event_id).headers) == {
        "ce_correlationid": "request-1",
        "ce_causationid": "event-1",
        "traceparent": "00-ab-cd-01",
    }


def test_row_is_left_to_change_data_capture_where_that_is_chosen(settings):
    settings.OUTBOX_TRANSPORT = "debezium"

    [event_id] = publish_all(GateOpened(gate_id="a"))

    assert OutboxEvent.objects.get(pk=event_id).state == OutboxEvent.State.CAPTURED


def test_publishing_without_a_transaction_is_refused():
    with pytest.raises(TransactionRequired):
        publish(GateOpened(gate_id="a"))

    assert not OutboxEvent.objects.exists()


def test_rolled_back_transaction_leaves_no_event():
    def body():
        publish(GateOpened(gate_id="a"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_in_transaction(body)

    assert not OutboxEvent.objects.exists()


def test_two_events_of_one_version_are_refused():
    publish_all(GateOpened(gate_id="a", version=1))

    with pytest.raises(IntegrityError):
        publish_all(GateOpened(gate_id="b"), GateOpened(gate_id="a", version=1))

    assert OutboxEvent.objects.count() == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"width_cm": "90"},
        {"width_cm": 90.0},
        {"width_cm": True},
        {"width_cm": None},
        {"width_cm": 2**31},
        {"opened_at": datetime(2026, 1, 1)},  # noqa: DTZ001 - what is refused
        {"opened_at": "yesterday"},
        {"keeper": object()},
        {"keeper": 7},
        {"keeper": "x" * 1_000_000},
        {"version": 0},
        {"gate_id": ""},
        {"gate_id": "x" * 256},
    ],
    ids=lambda fields: " ".join(f"{name}={str(value)[:20]}" for name, value in fields.items()),
)
def test_event_that_does_not_fit_its_schema_is_refused(fields):
    with pytest.raises(InvalidEvent):
        publish_all(GateOpened(**{"gate_id": "a"} | fields))

    assert not OutboxEvent.objects.exists()


def test_event_without_a_schema_is_refused():
    stranger = type("GatePainted", (GateOpened,), {})

    with pytest.raises(InvalidEvent, match="avsc"):
        publish_all(stranger(gate_id="a"))
