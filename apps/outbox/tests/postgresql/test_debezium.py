from __future__ import annotations

import io
from collections import Counter

import pytest
import structlog
from django.core.management import CommandError

from apps.outbox import dead_letters, metrics
from apps.outbox.connector import ConnectorFailed, configuration, prepare
from apps.outbox.context import Trace, traced
from apps.outbox.kafka import Sender
from apps.outbox.models import DeadLetter, OutboxEvent
from apps.outbox.tests.sending import (
    RECORD,
    first_deliveries,
    publish_all,
    versions_of,
    wait_for,
)

pytestmark = pytest.mark.django_db(transaction=True)

State = OutboxEvent.State


def work_until(worker, condition):
    def step():
        worker.run_once()
        return condition()

    return wait_for(step, seconds=60)


def work_off(bench, count):
    """Work until the topic has `count` records, and return them."""
    worker = bench.worker()
    try:
        work_until(worker, lambda: bench.sent() >= count)
    finally:
        worker.close()
    return bench.records(count=count)


def test_row_arrives_as_the_very_record_that_a_relay_would_send(captured):
    captured.apply()
    with traced(Trace(correlation_id="request-1", causation_id="event-0")):
        [event_id] = publish_all(captured.opened("north", keeper="Zoë"))

    [by_debezium] = work_off(captured, 1)

    row = OutboxEvent.objects.get(pk=event_id)
    assert row.state == State.CAPTURED
    OutboxEvent.objects.update(state=State.PENDING)
    relay = captured.relay()
    assert relay.run_once()
    first, by_relay = captured.records(count=2)
    assert (first.key(), first.value()) == (by_debezium.key(), by_debezium.value())
    assert (by_relay.key(), by_relay.value()) == (by_debezium.key(), by_debezium.value())
    assert by_relay.headers() == by_debezium.headers()
    assert by_relay.partition() == by_debezium.partition()
    assert dict(by_debezium.headers())["ce_id"] == str(event_id).encode()


def test_rows_of_one_statement_and_of_many_transactions_arrive_in_order(captured):
    captured.apply()
    [first] = publish_all(captured.opened("template"))
    template = OutboxEvent.objects.get(pk=first)
    OutboxEvent.objects.bulk_create(
        [
            OutboxEvent(
                topic=captured.topic,
                key=f"gate-{n}",
                aggregate_type="gate",
                aggregate_id=f"gate-{n}",
                version=version,
                type=template.type,
                record=RECORD,
                payload=bytes(template.payload),
                occurred_at=template.occurred_at,
                due_at=template.due_at,
                state=State.CAPTURED,
            )
            for version in range(1, 11)
            for n in range(20)
        ]
    )
    for version in range(11, 14):
        for n in range(5):
            publish_all(captured.opened(f"gate-{n}", version))

    versions = versions_of(work_off(captured, 216))

    for n in range(20):
        wanted = list(range(1, 14 if n < 5 else 11))
        assert first_deliveries(versions[f"gate-{n}"]) == wanted


def test_rows_from_before_the_slot_are_sent_as_well(captured):
    captured.publish_run("north", [1, 2, 3])

    captured.apply()
    captured.publish_run("north", [4])

    assert versions_of(work_off(captured, 4)) == {"north": [1, 2, 3, 4]}


def test_rows_from_before_the_slot_are_sent_although_its_maker_died_behind_it(captured):
    captured.publish_run("north", [1, 2, 3])
    assert prepare(captured.slot)

    captured.apply()
    captured.publish_run("north", [4])

    assert versions_of(work_off(captured, 4)) == {"north": [1, 2, 3, 4]}


def test_connector_starts_although_its_maker_died_before_starting_it(captured):
    """Found by `make prove`: it stayed stopped for good, its configuration being as it should."""
    captured.apply()
    captured.connect.stop()
    captured.publish_run("north", [1, 2])

    captured.apply()

    assert versions_of(work_off(captured, 2)) == {"north": [1, 2]}


def test_rows_that_debezium_carried_are_not_sent_again_by_the_next_start(captured):
    captured.apply()
    captured.publish_run("north", [1, 2])
    assert versions_of(work_off(captured, 2)) == {"north": [1, 2]}

    captured.apply()

    assert not OutboxEvent.objects.exclude(state=State.CAPTURED).exists()


def test_rows_written_while_the_connector_is_away_are_kept_by_the_slot(captured):
    captured.apply()
    captured.connect.delete()
    captured.publish_run("north", [1, 2])

    captured.apply()

    assert versions_of(work_off(captured, 2)) == {"north": [1, 2]}


def test_rolled_back_transaction_sends_nothing(captured):
    captured.apply()
    with pytest.raises(Exception, match="outbox_event_version"):
        publish_all(captured.opened("ghost"), captured.opened("twin"), captured.opened("twin"))
    publish_all(captured.opened("north"))

    assert versions_of(work_off(captured, 1)) == {"north": [1]}


def test_applying_again_changes_nothing(captured):
    first, second = io.StringIO(), io.StringIO()

    captured.apply(stdout=first)
    captured.apply(stdout=second)

    assert "replication slot made" in first.getvalue()
    assert "configuration applied" in first.getvalue()
    assert "replication slot made" not in second.getvalue()
    assert "configuration unchanged" in second.getvalue()


def test_connector_that_cannot_run_is_reported(captured):
    wanted = configuration("test", captured.raw_topic) | {"database.port": "1"}

    with pytest.raises(ConnectorFailed, match="Connection"):
        captured.connect.apply(wanted)


def test_connect_that_is_away_is_reported(captured, settings):
    settings.CONNECT_URL = "http://127.0.0.1:1"

    with pytest.raises(CommandError, match=r"127\.0\.0\.1:1"):
        captured.apply()


def raw(bench, key=b"north", value=b"{}", **headers):
    """Put a record on the raw topic that no EventRouter would have made."""
    packed = tuple((name, text.encode()) for name, text in headers.items())
    Sender().send_one(bench.raw_topic, key, value, packed)


def columns(bench, **changed):
    return {
        "id": "01a209d4-cd0a-7e1e-b8f5-cfb0bf88d4a6",
        "type": "test.gates.gate.opened.v1",
        "record": RECORD,
        "topic": bench.topic,
        "version": "1",
        "aggregate_id": "north",
        "occurred_at": "2026-03-01T12:30:00.25Z",
        "headers": "{}",
    } | changed


BAD_ROWS = {
    "no headers": {"id": ""},
    "no uuid": {"id": "7"},
    "no text that PostgreSQL could hold": {"id": "\x00"},
    "no number": {"version": "one"},
    "no instant": {"occurred_at": "soon"},
    "foreign topic": {"topic": "somebody.elses"},
    "raw topic": {"topic": "RAW"},
    "unknown record": {"record": "test.gates.GatePainted"},
    "bad extra headers": {"headers": "[1]"},
    "payload of another shape": {},
}


def test_bad_rows_become_dead_letters_and_the_next_row_goes_on(captured):
    for changed in BAD_ROWS.values():
        replaced = {
            name: captured.raw_topic if text == "RAW" else text for name, text in changed.items()
        }
        raw(captured, **columns(captured, **replaced))
    raw(captured, value=b"", **columns(captured))
    raw(captured, key=b"\xff", **columns(captured))
    good = b'{"gate_id":"north","version":1,"width_cm":1,"opened_at":0,"keeper":null}'
    raw(captured, value=good, **columns(captured))

    with structlog.testing.capture_logs() as logs:
        [record] = work_off(captured, 1)

    assert record.key() == b"north"
    letters = list(DeadLetter.objects.all())
    assert len(letters) == len(BAD_ROWS) + 2
    assert {letter.stage for letter in letters} == {DeadLetter.Stage.RAW}
    assert {letter.topic for letter in letters} == {captured.raw_topic}
    assert len(captured.records(captured.dlq, count=len(letters))) == len(letters)
    lines = [each for each in logs if each["event"] == "raw_row_dead_lettered"]
    assert sorted(line["kind"] for line in lines) == sorted(each.error_kind for each in letters)
    for line in lines:
        assert line["log_level"] == "error"
        assert line["reason"]
        assert {"event_id", "type", "topic", "key", "partition", "offset"} <= line.keys()
    counted = Counter(each.error_kind for each in letters)
    for kind, count in counted.items():
        found = metrics.published.labels(captured.raw_topic, "dead", kind)._value.get()
        assert found == count


def test_replayed_dead_letter_of_the_raw_worker_is_worked_again(captured):
    bad = columns(captured, version="one")
    good = b'{"gate_id":"north","version":1,"width_cm":1,"opened_at":0,"keeper":null}'
    raw(captured, value=good, **bad)
    worker = captured.worker()
    work_until(worker, DeadLetter.objects.exists)
    [letter] = DeadLetter.objects.all()

    dead_letters.replay(letter.pk, Sender().send_one, by="staff@example.com")
    work_until(worker, lambda: DeadLetter.objects.get().attempts == 2)
    worker.close()

    assert DeadLetter.objects.get().state == DeadLetter.State.OPEN


def test_outage_of_kafka_keeps_the_batch_and_the_worker_goes_on_after_it(captured):
    good = b'{"gate_id":"north","version":1,"width_cm":1,"opened_at":0,"keeper":null}'
    raw(captured, value=good, **columns(captured))
    worker = captured.worker()
    healthy = worker._sender
    worker._sender = Sender(timeout=0.5, options={"bootstrap.servers": "127.0.0.1:1"})
    work_until(worker, lambda: worker._outages)

    worker._sender.close()
    worker._sender = healthy
    work_until(worker, lambda: captured.sent() == 1)
    worker.close()

    assert not DeadLetter.objects.exists()
