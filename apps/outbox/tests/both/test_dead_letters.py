from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import KafkaError, KafkaException
from django.utils import timezone

from apps.outbox import dead_letters
from apps.outbox.dead_letters import AlreadyResolved, Failure, ReasonMissing, Record, Stage, State
from apps.outbox.models import DeadLetter, OutboxEvent

pytestmark = pytest.mark.django_db(transaction=True)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Sent(list):
    """Stands for Kafka: keeps what it is given, or refuses it."""

    error = None

    def __call__(self, topic, key, value, headers):
        if self.error is not None:
            raise KafkaException(KafkaError(self.error))
        self.append(Record(topic=topic, key=key, value=value, headers=headers))


def a_record(topic="test.lamps", **fields):
    place = {"partition": 2, "offset": uuid.uuid4().int % 10**15}
    headers = (("ce_id", b"e-1"), ("traceparent", b"00-1-2-01"), ("binary", b"\xff"), ("no", None))
    return Record(
        **{"topic": topic, "key": b"k\xff", "value": b"v\x00", "headers": headers} | place | fields
    )


def a_failure(**fields):
    known = {
        "stage": Stage.CONSUMER,
        "group": "readers",
        "kind": "handler",
        "message": "ValueError: no",
    }
    return Failure(
        **known | {"first_failed_at": NOON, "last_failed_at": NOON, "attempts": 8} | fields
    )


def a_letter(rec=None, event_id="e-1", **fields):
    letter_id = dead_letters.record(rec or a_record(), a_failure(**fields), event_id=event_id)
    return DeadLetter.objects.get(pk=letter_id)


def a_copy(sent, letter):
    """Return the replayed copy as its reader finds it."""
    [copy] = sent
    return Record(
        topic=copy.topic,
        key=copy.key,
        value=copy.value,
        headers=copy.headers,
        partition=0,
        offset=1,
    )


def test_a_dead_letter_keeps_the_record_and_the_reason():
    rec = a_record()

    letter = a_letter(rec)

    assert (bytes(letter.key), bytes(letter.value)) == (rec.key, rec.value)
    assert dead_letters.unpack_headers(letter.headers) == rec.headers
    assert (letter.topic, letter.group, letter.offset) == ("test.lamps", "readers", rec.offset)
    assert (letter.error_kind, letter.error_message) == ("handler", "ValueError: no")
    assert (letter.attempts, letter.first_failed_at, letter.state) == (8, NOON, State.OPEN)


def test_a_dead_letter_is_written_once_however_often_it_is_reported():
    rec = a_record()

    ids = {a_letter(rec).pk, a_letter(rec, attempts=3).pk}

    assert len(ids) == 1
    assert DeadLetter.objects.get(pk=ids.pop()).attempts == 8


def test_text_that_no_store_can_hold_is_cleaned():
    letter = a_letter(message="a\x00b \ud800 " + "x" * 5000)

    assert letter.error_message.startswith("a\N{REPLACEMENT CHARACTER}b ? xxx")
    assert len(letter.error_message) == dead_letters.LONGEST_MESSAGE


def test_the_letter_is_kept_before_its_record_goes_to_the_dead_letter_topic():
    sent, rec = Sent(), a_record()
    sent.error = KafkaError._MSG_TIMED_OUT

    with pytest.raises(KafkaException):
        dead_letters.bury(rec, a_failure(), sent, event_id="e-1")
    sent.error = None
    letter_id = dead_letters.bury(rec, a_failure(), sent, event_id="e-1")

    assert DeadLetter.objects.filter(pk=letter_id, state=State.OPEN).exists()
    [record] = sent
    assert record.topic == "test.lamps.readers.dlq"
    assert (record.key, record.value) == (rec.key, rec.value)
    assert record.headers[: len(rec.headers)] == rec.headers
    assert dict(record.headers[len(rec.headers) :]) == {
        "__dlq.errors.topic": b"test.lamps",
        "__dlq.errors.partition": b"2",
        "__dlq.errors.offset": str(rec.offset).encode(),
        "__dlq.errors.group": b"readers",
        "__dlq.errors.delivery.count": b"8",
        "__dlq.errors.message": b"ValueError: no",
        "outbox-error-kind": b"handler",
        "outbox-attempts": b"8",
        "outbox-first-failed-at": b"2026-11-23T12:00:00+00:00",
        "outbox-last-failed-at": b"2026-11-23T12:00:00+00:00",
        "outbox-stage": b"consumer",
    }


def test_a_record_that_outgrows_the_dead_letter_topic_is_kept_in_the_store_alone():
    sent = Sent()
    sent.error = KafkaError.MSG_SIZE_TOO_LARGE

    letter_id = dead_letters.bury(a_record(), a_failure(), sent)

    assert DeadLetter.objects.filter(pk=letter_id).exists()


def test_a_replay_goes_to_the_retry_topic_of_the_group_that_failed():
    sent, rec = Sent(), a_record()
    letter = a_letter(rec)

    dead_letters.replay(letter.pk, sent, by="anna", note="fixed in 1.2")

    [copy] = sent
    assert copy.topic == "test.lamps.readers.retry"
    assert (copy.key, copy.value) == (rec.key, rec.value)
    assert copy.headers == (*rec.headers, ("outbox-replayed-from", str(letter.pk).encode()))
    letter.refresh_from_db()
    assert (letter.state, letter.replays, letter.resolved_by) == (State.REPLAYED, 1, "anna")
    assert letter.resolution == "fixed in 1.2"


def test_an_event_without_an_id_is_replayed_with_the_one_that_it_was_given_here():
    sent = Sent()
    letter = a_letter(a_record(headers=()), event_id="given-here")

    dead_letters.replay(letter.pk, sent, by="anna")

    assert sent[0].headers[0] == ("ce_id", b"given-here")


def test_a_raw_row_is_replayed_to_the_raw_topic():
    sent = Sent()
    letter = a_letter(a_record("test.lamps.raw"), stage=Stage.RAW, group="")

    dead_letters.replay(letter.pk, sent, by="anna")

    assert sent[0].topic == "test.lamps.raw"


def test_an_event_that_the_relay_gave_up_is_pending_again():
    event = OutboxEvent.objects.create(
        topic="test.lamps",
        key="lamp",
        aggregate_type="lamp",
        aggregate_id=uuid.uuid4().hex,
        version=1,
        type="lit",
        record="test.lamps.LampLit",
        payload=b"{}",
        occurred_at=NOON,
        due_at=NOON,
        state=OutboxEvent.State.DEAD,
        attempts=5,
        last_error="too large",
    )
    rec = Record(topic="test.lamps", key=b"lamp", value=b"{}")
    letter = a_letter(rec, event_id=str(event.pk), stage=Stage.RELAY, group="")

    dead_letters.request_replay(letter.pk, by="anna")

    event.refresh_from_db()
    letter.refresh_from_db()
    assert (event.state, event.attempts, event.last_error) == (OutboxEvent.State.PENDING, 0, "")
    assert (letter.state, letter.resolved_by) == (State.REPLAYED, "anna")


def test_a_letter_stays_open_when_kafka_is_away_during_its_replay():
    sent, letter = Sent(), a_letter()
    sent.error = KafkaError._MSG_TIMED_OUT

    with pytest.raises(KafkaException):
        dead_letters.replay(letter.pk, sent, by="anna")

    letter.refresh_from_db()
    assert letter.state == State.OPEN


def test_a_letter_is_not_replayed_twice_by_mistake():
    sent, letter = Sent(), a_letter()
    dead_letters.replay(letter.pk, sent, by="anna")

    with pytest.raises(AlreadyResolved, match="is replayed, by anna"):
        dead_letters.replay(letter.pk, sent, by="ben")

    assert len(sent) == 1


def test_a_copy_that_fails_opens_its_letter_again():
    sent, letter = Sent(), a_letter()
    dead_letters.replay(letter.pk, sent, by="anna")
    later = NOON + timedelta(hours=1)

    again = dead_letters.record(
        a_copy(sent, letter), a_failure(last_failed_at=later), event_id="e-1"
    )

    letter.refresh_from_db()
    assert again == letter.pk
    assert (letter.state, letter.attempts, letter.last_failed_at) == (State.OPEN, 16, later)
    assert (letter.topic, letter.first_failed_at) == ("test.lamps", NOON)


def test_a_copy_that_fails_before_its_letter_is_marked_leaves_the_letter_open():
    letter = a_letter()

    class FailsAtOnce(Sent):
        def __call__(self, *args):
            super().__call__(*args)
            dead_letters.record(a_copy(self, letter), a_failure(), event_id="e-1")

    with pytest.raises(AlreadyResolved):
        dead_letters.replay(letter.pk, FailsAtOnce(), by="anna")

    letter.refresh_from_db()
    assert letter.state == State.OPEN


def test_a_copy_whose_letter_is_gone_becomes_a_letter_of_its_own():
    sent, letter = Sent(), a_letter()
    dead_letters.replay(letter.pk, sent, by="anna")
    copy = a_copy(sent, letter)
    letter.delete()

    again = DeadLetter.objects.get(pk=dead_letters.record(copy, a_failure(), event_id="e-1"))

    assert again.topic == "test.lamps"


def test_a_discarded_letter_is_closed_for_good():
    sent, letter = Sent(), a_letter()

    dead_letters.discard(letter.pk, by="anna", reason=" sent by hand ")

    letter.refresh_from_db()
    assert (letter.state, letter.resolution) == (State.DISCARDED, "sent by hand")
    with pytest.raises(AlreadyResolved):
        dead_letters.replay(letter.pk, sent, by="ben")
    assert a_letter(a_record(), event_id="e-1").pk != letter.pk
    assert sent == []


def test_nothing_is_discarded_without_a_reason():
    letter = a_letter()

    with pytest.raises(ReasonMissing):
        dead_letters.discard(letter.pk, by="anna", reason="  ")

    letter.refresh_from_db()
    assert letter.state == State.OPEN


def test_a_requested_replay_is_sent_by_the_groups_consumer():
    sent, letter = Sent(), a_letter()
    dead_letters.request_replay(letter.pk, by="anna", note="try again")

    others = dead_letters.replay_requested("others", sent)
    ours = dead_letters.replay_requested("readers", sent)
    again = dead_letters.replay_requested("readers", sent)

    letter.refresh_from_db()
    assert (others, ours, again) == (0, 1, 0)
    assert (letter.state, letter.resolved_by) == (State.REPLAYED, "anna")


def test_a_requested_replay_waits_for_kafka():
    sent, letter = Sent(), a_letter()
    dead_letters.request_replay(letter.pk, by="anna")
    sent.error = KafkaError._MSG_TIMED_OUT

    with pytest.raises(KafkaException):
        dead_letters.replay_requested("readers", sent)

    letter.refresh_from_db()
    assert letter.state == State.REQUESTED


def test_a_requested_replay_that_kafka_refuses_for_good_is_given_back():
    sent, letter = Sent(), a_letter()
    dead_letters.request_replay(letter.pk, by="anna")
    sent.error = KafkaError.MSG_SIZE_TOO_LARGE

    assert dead_letters.replay_requested("readers", sent) == 0

    letter.refresh_from_db()
    assert letter.state == State.OPEN
    assert "refused" in letter.resolution


def test_letters_are_selected_by_what_they_have_in_common():
    group = uuid.uuid4().hex
    older = a_letter(group=group, kind="empty", first_failed_at=NOON - timedelta(days=1))
    newer = a_letter(group=group)
    dead_letters.discard(a_letter(group=group).pk, by="anna", reason="test")

    assert list(dead_letters.select(group=group)) == [older, newer]
    assert list(dead_letters.select(group=group, kind="empty")) == [older]
    assert list(dead_letters.select(ids=(newer.pk,))) == [newer]
    assert list(dead_letters.select(group=group, topic="elsewhere")) == []


def test_recent_letters_of_a_group_are_counted():
    group, now = uuid.uuid4().hex, timezone.now()
    a_letter(group=group, last_failed_at=now)
    a_letter(group=group, last_failed_at=now - timedelta(hours=1))

    assert dead_letters.recent_count(group, now - timedelta(minutes=1)) == 1
