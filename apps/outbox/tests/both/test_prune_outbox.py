from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from confluent_kafka import Producer, TopicPartition
from django.core.management import CommandError
from django.utils import timezone

from apps.outbox import dead_letters, kafka
from apps.outbox.dead_letters import Stage
from apps.outbox.models import DeadLetter, OutboxEvent, ReceivedEvent, ReplicationSlot
from apps.outbox.tests.operating import a_letter, a_row, run, uuid7_of

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = 3600.0
DAY = 24 * HOUR
State = OutboxEvent.State


@pytest.fixture(autouse=True)
def reads_nothing(settings):
    settings.CONSUMER_GROUP = ""


def left():
    return set(OutboxEvent.objects.values_list("pk", flat=True))


def the_slot(confirmed_at, fault=""):
    now = timezone.now()
    lsn = {"confirmed_lsn": "0/1", "checkpoint_lsn": "0/1", "checkpoint_at": now}
    ReplicationSlot.objects.create(
        name="outbox", confirmed_at=confirmed_at, observed_at=now, fault=fault, **lsn
    )


def test_published_events_go_when_they_are_old_enough():
    a_row(state="published", age=8 * DAY)
    young = a_row(state="published", age=6 * DAY)

    said = run("prune_outbox", "--older-than", "7d")

    assert left() == {young.pk}
    assert "1 events older than 7 d removed." in said


def test_no_event_goes_that_was_not_published_whatever_its_age():
    kept = {
        a_row(state=state, age=1000 * DAY, attempts=number).pk
        for state in ("pending", "captured", "dead")
        for number in range(3)
    }
    a_row(state="published", age=1000 * DAY)

    run("prune_outbox", "--older-than", "1h", "--batch", "1")

    assert left() == kept


def test_an_old_event_that_was_published_just_now_stays():
    row = a_row(state="published", age=30 * DAY, published_at=timezone.now())

    run("prune_outbox")

    assert left() == {row.pk}


def test_a_captured_event_goes_only_when_it_is_surely_on_the_raw_topic():
    old = a_row(state="captured", age=10 * DAY)
    unsure = a_row(state="captured", age=8 * DAY)
    the_slot(timezone.now() - timedelta(days=9))

    run("prune_outbox", "--older-than", "7d")

    assert left() == {unsure.pk}
    assert old.pk not in left()


def test_no_captured_event_goes_while_the_slot_has_a_fault():
    row = a_row(state="captured", age=10 * DAY)
    the_slot(timezone.now(), fault="The replication slot is gone.")

    run("prune_outbox", "--older-than", "7d")

    assert left() == {row.pk}


def test_chunks_reach_every_row_past_those_that_stay():
    kept = [a_row(state="pending", age=20 * DAY - number).pk for number in range(0, 10, 2)]
    for number in range(1, 10, 2):
        a_row(state="published", age=20 * DAY - number)

    said = run("prune_outbox", "--batch", "2")

    assert left() == set(kept)
    assert "5 events older than 7 d removed." in said


def test_a_dry_run_counts_and_removes_nothing():
    row = a_row(state="published", age=8 * DAY)

    said = run("prune_outbox", "--dry-run")

    assert "1 events older than 7 d would go." in said
    assert left() == {row.pk}


def test_less_than_an_hour_is_refused():
    row = a_row(state="published", age=8 * DAY)

    with pytest.raises(CommandError, match="Nothing younger than"):
        run("prune_outbox", "--older-than", "59m")
    with pytest.raises(CommandError, match="is no age"):
        run("prune_outbox", "--older-than", "soon")

    assert left() == {row.pk}


def test_decided_letters_go_and_a_discarded_event_with_its_own():
    old = timezone.now() - timedelta(days=8)
    rows = [a_row(f"gate-{number}", state="dead", age=9 * DAY) for number in range(3)]
    letters = [
        a_letter(stage=Stage.RELAY, event_id=str(row.pk), key=row.key.encode()) for row in rows
    ]
    dead_letters.discard(letters[0].pk, by="anna", reason="A test")
    dead_letters.discard(letters[1].pk, by="anna", reason="A test")
    DeadLetter.objects.filter(pk=letters[0].pk).update(resolved_at=old)

    run("prune_outbox")

    assert set(DeadLetter.objects.values_list("pk", flat=True)) == {
        letters[1].pk,
        letters[2].pk,
    }
    assert left() == {rows[1].pk, rows[2].pk}


class Inbox:
    """A group's notes of records of a real topic, whose offsets it committed up to `done`."""

    def __init__(self, bench, settings, done):
        settings.CONSUMER_GROUP = self.group = bench.group
        settings.INBOX_RETENTION_SECONDS = int(30 * DAY)
        self.topic = bench.topic
        producer = Producer(kafka.client_settings())
        for _ in range(5):
            producer.produce(bench.topic, value=b"v", partition=0)
        assert producer.flush(30) == 0
        client = kafka.consumer(bench.group)
        client.commit(offsets=[TopicPartition(bench.topic, 0, done)], asynchronous=False)
        client.close()

    def note(self, offset, age, event_id=None):
        received_at = timezone.now() - timedelta(seconds=age)
        return ReceivedEvent.objects.create(
            id=f"{self.group}/{event_id or uuid7_of(received_at)}",
            type="t",
            topic=self.topic,
            partition=0,
            offset=offset,
            key="k",
            received_at=received_at,
        ).pk


def test_notes_go_when_kafka_will_not_hand_their_records_out_again(bench, settings):
    inbox = Inbox(bench, settings, done=3)
    inbox.note(1, age=40 * DAY)
    young = inbox.note(2, age=20 * DAY)
    uncommitted = inbox.note(3, age=40 * DAY)

    said = run("prune_outbox", "--batch", "1")

    assert set(ReceivedEvent.objects.values_list("pk", flat=True)) == {young, uncommitted}
    assert f"1 notes of {bench.group} removed." in said


def test_notes_of_another_group_or_topic_stay(bench, settings):
    inbox = Inbox(bench, settings, done=3)
    inbox.topic = "test.another"
    elsewhere = inbox.note(1, age=40 * DAY)
    inbox.topic, inbox.group = bench.topic, "strangers"
    foreign = inbox.note(1, age=40 * DAY)

    run("prune_outbox")

    assert set(ReceivedEvent.objects.values_list("pk", flat=True)) == {elsewhere, foreign}


def test_an_event_whose_id_tells_no_time_stays_rather_than_goes_too_soon(bench, settings):
    inbox = Inbox(bench, settings, done=3)
    young = inbox.note(1, age=DAY, event_id=uuid.UUID(int=1))

    run("prune_outbox")

    assert ReceivedEvent.objects.filter(pk=young).exists()


def test_notes_are_not_kept_for_less_than_an_event_may_be_tried(bench, settings):
    inbox = Inbox(bench, settings, done=3)
    note = inbox.note(1, age=40 * DAY)
    settings.INBOX_RETENTION_SECONDS = settings.OUTBOX_RETRY_DEADLINE_SECONDS = int(DAY)

    with pytest.raises(CommandError, match="Keep them longer"):
        run("prune_outbox")

    assert ReceivedEvent.objects.filter(pk=note).exists()


def test_no_note_goes_while_kafka_is_away(bench, settings, monkeypatch):
    inbox = Inbox(bench, settings, done=3)
    note = inbox.note(1, age=40 * DAY)
    settings.KAFKA_BOOTSTRAP_SERVERS = "127.0.0.1:1"
    monkeypatch.setattr("apps.outbox.offsets.KAFKA_SECONDS", 1.0)

    with pytest.raises(CommandError, match="Kafka does not answer"):
        run("prune_outbox")

    assert ReceivedEvent.objects.filter(pk=note).exists()
