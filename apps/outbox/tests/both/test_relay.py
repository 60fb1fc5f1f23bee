from __future__ import annotations

import json
import threading
import time
import uuid
from datetime import timedelta

import pytest
import structlog
from confluent_kafka import KafkaException
from django.db import connections
from django.utils import timezone

from apps.outbox import dead_letters, metrics
from apps.outbox.context import Trace, traced
from apps.outbox.failures import is_outage
from apps.outbox.kafka import Sender
from apps.outbox.models import DeadLetter, OutboxEvent, RelayMember, RelaySlot
from apps.outbox.registry import SchemaMissing
from apps.outbox.slots import SLOTS
from apps.outbox.stores import Share, open_store
from apps.outbox.tests.sending import (
    OPENED_AT,
    RECORD,
    Bench,
    drain,
    event_class,
    in_threads,
    publish_all,
    spoil,
    versions_of,
    wait_for,
)

pytestmark = pytest.mark.django_db(transaction=True)

State = OutboxEvent.State


def states():
    return set(OutboxEvent.objects.values_list("state", flat=True))


def row(event_id):
    return OutboxEvent.objects.get(pk=event_id)


def test_committed_event_arrives_as_a_cloud_event_in_avro(sending, settings):
    with traced(Trace(correlation_id="request-1", traceparent="00-ab-cd-01")):
        [event_id] = publish_all(sending.opened("north", keeper="Zoë"))

    drain(sending.relay())

    [record] = sending.records()
    assert record.key() == b"north"
    headers = {name: value.decode() for name, value in record.headers()}
    occurred_at = row(event_id).occurred_at.isoformat(timespec="milliseconds")
    assert headers == {
        "ce_specversion": "1.0",
        "ce_id": str(event_id),
        "ce_type": "test.gates.gate.opened.v1",
        "ce_source": f"/ticketing/{settings.SERVICE_NAME}",
        "ce_time": occurred_at.replace("+00:00", "Z"),
        "ce_subject": "north",
        "ce_sequence": "1",
        "content-type": "application/avro",
        "ce_correlationid": "request-1",
        "traceparent": "00-ab-cd-01",
    }
    assert sending.codec.decode(record.value()) == (
        RECORD,
        {
            "gate_id": "north",
            "version": 1,
            "width_cm": 90,
            "opened_at": OPENED_AT,
            "keeper": "Zoë",
        },
    )
    assert row(event_id).state == State.PUBLISHED
    assert row(event_id).published_at is not None


def test_each_key_keeps_its_order_over_many_pages(sending):
    for version in range(1, 11):
        publish_all(*[sending.opened(f"gate-{n}", version) for n in range(12)])

    drain(sending.relay(batch=7))

    versions = versions_of(sending.records(count=120))
    assert versions == {f"gate-{n}": list(range(1, 11)) for n in range(12)}
    assert states() == {State.PUBLISHED}


def test_row_that_is_not_due_is_not_overtaken(sending):
    first, second = sending.publish_run("slow", [1, 2])
    publish_all(sending.opened("swift"))
    OutboxEvent.objects.filter(pk=first).update(due_at=timezone.now() + timedelta(hours=1))
    relay = sending.relay()

    drain(relay)

    assert versions_of(sending.records()) == {"swift": [1]}
    assert (row(first).state, row(second).state) == (State.PENDING, State.PENDING)
    OutboxEvent.objects.filter(pk=first).update(due_at=timezone.now())
    drain(relay)
    assert versions_of(sending.records(count=3))["slow"] == [1, 2]


def test_key_that_stands_still_does_not_hold_up_the_others(sending):
    blocked = sending.publish_run("a-blocked", range(1, 21))
    OutboxEvent.objects.filter(pk=blocked[0]).update(due_at=timezone.now() + timedelta(hours=1))
    publish_all(*[sending.opened(f"gate-{n}") for n in range(12)])

    drain(sending.relay(batch=5))

    assert len(versions_of(sending.records(count=12))) == 12
    assert OutboxEvent.objects.filter(state=State.PENDING).count() == 20


def test_poison_row_becomes_a_dead_letter_and_its_key_goes_on(sending):
    _, bad, _ = sending.publish_run("north", [1, 2, 3])
    publish_all(sending.opened("south"))
    spoil(bad, b'{"gate_id": 5}')

    drain(sending.relay())

    assert versions_of(sending.records(count=3)) == {"north": [1, 3], "south": [1]}
    assert row(bad).state == State.DEAD
    [letter] = DeadLetter.objects.all()
    assert (letter.stage, letter.topic, letter.error_kind) == (
        DeadLetter.Stage.RELAY,
        sending.topic,
        "wrong_schema",
    )
    assert letter.event_id == str(bad)
    assert bytes(letter.value) == b'{"gate_id": 5}'
    [dead] = sending.records(sending.dlq)
    headers = {name: value.decode() for name, value in dead.headers()}
    assert (dead.key(), dead.value()) == (b"north", b'{"gate_id": 5}')
    assert headers["ce_id"] == str(bad)
    assert headers["outbox-stage"] == "relay"
    assert headers["__dlq.errors.topic"] == sending.topic


@pytest.mark.parametrize("payload", [b"", b"\xff\x00", b"[]", b"null", b'{"gate_id": "x"}'])
def test_any_bad_payload_is_dead_lettered(sending, payload):
    [bad] = publish_all(sending.opened("north"))
    spoil(bad, payload)

    with structlog.testing.capture_logs() as logs:
        drain(sending.relay())

    assert row(bad).state == State.DEAD
    assert DeadLetter.objects.count() == 1
    assert_told_as_dead(logs, bad, sending.topic, DeadLetter.objects.get().error_kind)


def assert_told_as_dead(logs, event_id, topic, kind):
    """Assert that one line and one count say which event of key north was given up, and why."""
    [line] = [each for each in logs if each["event"] == "event_dead_lettered"]
    assert (line["log_level"], line["kind"]) == ("error", kind)
    assert (line["event_id"], line["topic"], line["key"]) == (str(event_id), topic, "north")
    assert line["reason"]
    assert metrics.published.labels(topic, "dead", "poison")._value.get() == 1


def test_dead_letter_of_the_relay_is_sent_once_it_is_mended_and_requeued(sending):
    [bad] = publish_all(sending.opened("north"))
    good = bytes(row(bad).payload)
    spoil(bad, b"?")
    relay = sending.relay()
    drain(relay)
    [letter] = DeadLetter.objects.all()

    spoil(bad, good)
    dead_letters.request_replay(letter.pk, by="staff@example.com", note="mended")
    drain(relay)

    assert versions_of(sending.records()) == {"north": [1]}
    assert row(bad).state == State.PUBLISHED


def test_replayed_letter_that_fails_again_is_open_again(sending):
    [bad] = publish_all(sending.opened("north"))
    spoil(bad, b"?")
    relay = sending.relay()
    drain(relay)
    [letter] = DeadLetter.objects.all()

    dead_letters.request_replay(letter.pk, by="staff@example.com", note="hopeful")
    drain(relay)

    [letter] = DeadLetter.objects.all()
    assert letter.state == DeadLetter.State.OPEN
    assert row(bad).state == State.DEAD


def test_record_too_large_for_its_topic_is_dead_lettered_alone(sending):
    narrow = f"{sending.topic}-narrow"
    sending.create(narrow, **{"max.message.bytes": "20000"})
    sending.create(f"{narrow}.dlq")
    sending.topic = sending.event_class.topic = narrow
    sending.register()
    first, large, third = publish_all(
        sending.opened("north", 1),
        sending.opened("north", 2, keeper=random_text(100_000)),
        sending.opened("north", 3),
    )
    others = publish_all(*[sending.opened(f"gate-{n}") for n in range(20)])

    with structlog.testing.capture_logs() as logs:
        drain(sending.relay())

    assert versions_of(sending.records(count=22))["north"] == [1, 3]
    assert row(large).state == State.DEAD
    assert {row(each).state for each in (first, third, *others)} == {State.PUBLISHED}
    assert DeadLetter.objects.get().error_kind == "refused_by_broker"
    assert_told_as_dead(logs, large, narrow, "refused_by_broker")


def random_text(length):
    """Return text that compression does not shrink much."""
    return "".join(uuid.uuid4().hex for _ in range(length // 32 + 1))[:length]


def test_missing_topic_delays_its_rows_and_not_the_others(sending):
    elsewhere = event_class(f"{sending.topic}-missing")
    sending.register(elsewhere.topic)
    [waits] = publish_all(elsewhere(gate_id="lost"))
    [goes] = publish_all(sending.opened("north"))

    drain(sending.relay())

    assert row(goes).state == State.PUBLISHED
    assert (row(waits).state, row(waits).attempts) == (State.PENDING, 1)
    assert "UNKNOWN" in row(waits).last_error
    assert not DeadLetter.objects.exists()


def test_outage_of_kafka_loses_nothing_and_spends_no_attempt(sending):
    [event_id] = publish_all(sending.opened("north"))
    away = Sender(timeout=0.5, options={"bootstrap.servers": "127.0.0.1:1"})
    relay = sending.relay(sender=away)

    with pytest.raises(KafkaException) as caught:
        relay.run_once()
    relay.close()

    assert is_outage(caught.value)
    assert (row(event_id).state, row(event_id).attempts) == (State.PENDING, 0)
    drain(sending.relay())
    assert row(event_id).state == State.PUBLISHED
    assert not DeadLetter.objects.exists()


def test_schema_that_is_not_registered_yet_makes_its_events_wait(settings):
    bench = Bench(settings, register=False)
    try:
        [event_id] = publish_all(bench.opened("north"))
        relay = bench.relay()

        with pytest.raises(SchemaMissing, match="register_schemas") as caught:
            relay.run_once()

        assert is_outage(caught.value)
        before = metrics.outages.labels("relay")._value.get()

        def has_waited():
            return metrics.outages.labels("relay")._value.get() > before

        with structlog.testing.capture_logs() as logs:
            in_threads(relay.run, lambda: (wait_for(has_waited), relay.stop()))

        [line, *_] = [each for each in logs if each["event"] == "relay_waits_for_a_server"]
        assert (line["log_level"], "register_schemas" in line["error"]) == ("warning", True)
        assert (row(event_id).state, row(event_id).attempts) == (State.PENDING, 0)
        relay = bench.relay()
        bench.register()
        drain(relay)
        assert row(event_id).state == State.PUBLISHED
    finally:
        bench.close()


def test_new_row_ends_the_wait(sending):
    store = open_store()
    store.arm([Share(0, SLOTS - 1)])

    def publish_later():
        publish_all(sending.opened("north"))
        connections.close_all()

    thread = threading.Thread(target=publish_later)
    began = time.monotonic()
    thread.start()
    store.wait(20, set())
    waited = time.monotonic() - began
    thread.join()
    store.close()

    assert waited < 10


def test_running_relay_publishes_what_comes_and_ends_when_told(sending):
    relay = sending.relay()
    failures = []

    def run():
        try:
            relay.run()
        except BaseException as exc:  # noqa: BLE001 - looked at below
            failures.append(exc)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    for version in range(1, 6):
        [event_id] = publish_all(sending.opened("north", version))
        wait_for(lambda event_id=event_id: row(event_id).state == State.PUBLISHED)
    relay.stop()
    thread.join(10)

    assert failures == []
    assert versions_of(sending.records(count=5)) == {"north": [1, 2, 3, 4, 5]}
    assert json.loads(row(event_id).headers) == {}
    assert not RelayMember.objects.exists()
    assert not RelaySlot.objects.exclude(owner="").exists()
