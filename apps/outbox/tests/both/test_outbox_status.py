from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.core.management import CommandError
from django.db import connection
from django.utils import timezone

from apps.outbox import kafka, metrics, status
from apps.outbox.dead_letters import Stage
from apps.outbox.models import OutboxEvent, RelayMember, RelaySlot
from apps.outbox.tests.operating import a_letter, a_parked_record, a_row, run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def away(settings):
    """A Kafka that nobody answers for."""
    settings.KAFKA_BOOTSTRAP_SERVERS = "127.0.0.1:1"


def test_what_waits_is_counted_and_the_oldest_told():
    a_row(age=90)
    a_row(age=30)
    a_row(state="published", age=9000)
    a_row(state="captured", age=9000)

    now = status.collect(with_kafka=False)

    assert (now.queue.pending, now.queue.blocked) == (2, 0)
    assert 90 <= now.oldest_age < 600


def test_an_empty_outbox_has_no_age():
    now = status.collect(with_kafka=False)

    assert (now.queue.pending, now.oldest_age, now.dead) == (0, 0.0, 0)


def test_a_blocked_key_is_told_with_its_error_and_what_waits_behind_it():
    a_row("gate-7", 1, state="published")
    head = a_row("gate-7", 2, attempts=3, last_error="no such topic")
    a_row("gate-7", 3)
    a_row("gate-8", 1)

    [blocked] = status.blocked_keys(10)

    assert (blocked.key, blocked.event_id, blocked.version) == ("gate-7", str(head.pk), 2)
    assert (blocked.attempts, blocked.waiting, blocked.error) == (3, 2, "no such topic")
    assert "gate-7" in run("outbox_status", "--blocked")


def test_relays_are_told_with_their_slots_and_whether_they_live():
    now = timezone.now()
    RelayMember.objects.create(
        owner="a:1:x", started_at=now, expires_at=now + timedelta(seconds=600)
    )
    RelayMember.objects.create(
        owner="b:2:y", started_at=now, expires_at=now - timedelta(seconds=600)
    )
    for number in range(3):
        RelaySlot.objects.create(number=number, owner="a:1:x", epoch=1)

    assert [(each.owner, each.is_alive, each.slots) for each in status.relays()] == [
        ("a:1:x", True, 3),
        ("b:2:y", False, 0),
    ]


def test_dead_letters_are_counted_by_topic_and_kind_until_they_are_decided_upon():
    a_letter(kind="not_avro")
    a_letter(kind="not_avro")
    a_letter(stage=Stage.RELAY, event_id="e-1", kind="unknown_schema")
    run("redrive_dlq", "--discard", "--reason", "x", id=[a_letter().pk])

    counted = {(each.stage, each.kind, each.state): each.count for each in status.letters()}

    assert counted == {
        ("consumer", "not_avro", "open"): 2,
        ("relay", "unknown_schema", "open"): 1,
    }


def test_parked_records_are_counted_and_which_of_them_failed():
    a_parked_record(offset=1, attempts=2, error_message="ValueError: no")
    a_parked_record(offset=2)

    [parked] = status.parked()

    assert (parked.group, parked.records, parked.failed) == ("readers", 2, 1)


def test_a_group_is_behind_by_what_it_has_not_committed(bench, settings):
    settings.CONSUMER_GROUP = bench.group
    settings.OUTBOX_CONSUMERS = {bench.group: (bench.topic,)}
    settings.OUTBOX_TRANSPORT = "relay"
    for _ in range(3):
        bench.send_lamp()
    reader = kafka.consumer(bench.group)
    reader.subscribe([bench.topic])
    first = next(each for each in iter(lambda: reader.poll(1.0), 0) if each and not each.error())
    reader.commit(message=first, asynchronous=False)
    reader.close()

    lags, fault = status.consumer_lag()

    assert fault == ""
    assert {lag.topic: lag.behind for lag in lags} == {bench.topic: 2, bench.retry: 0}


def test_a_group_that_committed_nothing_is_behind_by_the_whole_topic(bench, settings):
    settings.CONSUMER_GROUP = bench.group
    settings.OUTBOX_CONSUMERS = {bench.group: (bench.topic,)}
    settings.OUTBOX_TRANSPORT = "relay"
    bench.send_lamp()

    lags, _ = status.consumer_lag()

    assert {lag.topic: lag.behind for lag in lags} == {bench.topic: 1, bench.retry: 0}


def test_the_store_is_told_of_when_kafka_is_away(away, settings, monkeypatch):
    settings.CONSUMER_GROUP = "readers"
    settings.OUTBOX_CONSUMERS = {"readers": ("test.lamps",)}
    monkeypatch.setattr("apps.outbox.offsets.KAFKA_SECONDS", 1.0)
    a_row()

    now = json.loads(run("outbox_status", "--json"))

    assert now["queue"]["pending"] == 1
    assert now["kafka_fault"]
    with pytest.raises(CommandError, match="Kafka"):
        run("outbox_status", "--max-dead", "0")


def test_monitoring_fails_beyond_its_thresholds_alone(settings):
    settings.CONSUMER_GROUP = ""
    settings.OUTBOX_TRANSPORT = "relay"
    a_row(age=100)
    a_letter()

    run("outbox_status", "--max-age", "3600", "--max-dead", "1")

    with pytest.raises(CommandError, match="A row has waited for"):
        run("outbox_status", "--max-age", "10")
    with pytest.raises(CommandError, match="1 dead letters, more than 0"):
        run("outbox_status", "--max-dead", "0")


def test_the_gauges_show_the_same():
    a_row(age=90)
    a_row("gate-7", attempts=1)
    a_letter()

    status.set_gauges()

    assert metrics.pending._value.get() == 2
    assert metrics.keys_blocked._value.get() == 1
    assert 90 <= metrics.oldest_pending_age._value.get() < 600
    assert metrics.dlq_depth.labels("consumer")._value.get() == 1
    assert metrics.dlq_depth.labels("relay")._value.get() == 0


def test_published_rows_are_not_looked_at():
    many_rows(state="published")
    a_row()

    plan = status.waiting_rows().explain()

    assert "outbox_event_waiting" in plan
    assert "COLLSCAN" not in plan
    assert "Seq Scan" not in plan


def test_rows_that_wait_are_not_read_to_find_the_blocked_keys_among_them():
    many_rows(state="pending")
    a_row("gate-7", attempts=1, last_error="no such topic")

    plan = status.blocked_rows().order_by("occurred_at")[:10].explain()

    assert "outbox_event_failed" in plan
    assert "Sort Key" not in plan
    assert '"SORT"' not in plan


def test_dead_rows_are_found_without_reading_the_others():
    many_rows(state="published")
    a_row(state="dead")

    plan = OutboxEvent.objects.filter(**status.DEAD).order_by("occurred_at")[:10].explain()

    assert "outbox_event_failed" in plan
    assert "Sort Key" not in plan
    assert '"SORT"' not in plan


def many_rows(**fields):
    now = timezone.now()
    OutboxEvent.objects.bulk_create(
        OutboxEvent(
            topic="test.gates",
            key="k",
            aggregate_type="gate",
            aggregate_id=f"many-{number}",
            version=1,
            type="t",
            record="r",
            payload=b"{}",
            occurred_at=now,
            due_at=now,
            **fields,
        )
        for number in range(3000)
    )
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE outbox_event")
