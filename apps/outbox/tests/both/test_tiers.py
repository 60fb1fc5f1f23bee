"""ordering=none: a record that failed waits in a topic, and its key goes on without it."""

from __future__ import annotations

import threading
import time
import uuid

import pytest

from apps.outbox.lanes import Patience
from apps.outbox.models import DeadLetter, ParkedRecord, ReceivedEvent
from apps.outbox.tests.receiving import Crowd, light, read_until, times_lit

pytestmark = pytest.mark.django_db(transaction=True)

PATIENT = Patience(attempts=2, first_delay=0.02, delays=(1, 2))


@pytest.fixture
def crowd(bench):
    bench.create_tiers(1, 2)
    crowd = Crowd(bench, ordering="none")
    yield crowd
    crowd.close()


def test_a_record_that_fails_goes_through_the_tiers_while_its_key_goes_on(bench, crowd):
    lamp = uuid.uuid4().hex
    event_id = bench.send_version(lamp, 1, headers=[("ce_correlationid", b"order-1")])
    bench.send_version(lamp, 2)
    is_mended = threading.Event()

    def fail_until_mended(event):
        if event.version == 1 and not is_mended.is_set():
            raise ValueError("not yet")
        light(event)

    consumer = crowd.add(fail_until_mended, PATIENT)
    read_until(consumer, lambda: times_lit(lamp) == 1)
    read_until(consumer, lambda: bench.end(bench.tier(2)) == 1)
    is_mended.set()
    read_until(consumer, lambda: times_lit(lamp) == 2)

    [first] = bench.records(bench.tier(1))
    [second] = bench.records(bench.tier(2))
    copies = [dict(copy.headers()) for copy in (first, second)]
    assert [copy["outbox-retry-attempts"] for copy in copies] == [b"2", b"3"]
    assert [copy["outbox-retry-topic"] for copy in copies] == [bench.topic.encode()] * 2
    assert [copy["outbox-retry-offset"] for copy in copies] == [b"0", b"0"]
    assert {copy["outbox-retry-first-failed-at"] for copy in copies} == {
        copies[0]["outbox-retry-first-failed-at"]
    }
    assert first.headers()[:3] == [
        ("ce_id", event_id.encode()),
        ("ce_sequence", b"1"),
        ("ce_correlationid", b"order-1"),
    ]
    assert second.headers()[:3] == first.headers()[:3]
    note = ReceivedEvent.objects.get(pk=f"{bench.group}/{event_id}")
    assert (note.topic, note.offset) == (bench.topic, 0)
    assert not ParkedRecord.objects.filter(group=bench.group).exists()


def test_a_record_is_not_tried_before_it_is_due(bench, crowd):
    bench.send_lamp()
    times = []

    def fail_once(event):
        times.append(time.monotonic())
        if len(times) == 1:
            raise ValueError("not yet")
        light(event)

    consumer = crowd.add(fail_once, Patience(attempts=1, delays=(2,)))

    read_until(consumer, lambda: len(times) == 2)

    assert times[1] - times[0] >= 2.0


def test_a_record_that_fails_in_every_tier_is_a_dead_letter_of_its_own_topic(bench, crowd):
    event_id = bench.send_version(uuid.uuid4().hex, 1)

    def fail(_event):
        raise ValueError("never")

    consumer = crowd.add(fail, PATIENT)

    [letter] = read_until(
        consumer, lambda: list(DeadLetter.objects.filter(group=bench.group, attempts=4))
    )

    assert (letter.topic, letter.offset, letter.event_id) == (bench.topic, 0, event_id)
    [copy] = bench.records(bench.dlq)
    names = [name for name, _ in copy.headers()]
    assert not [name for name in names if name.startswith("outbox-retry-")]
    assert dict(copy.headers())["__dlq.errors.topic"] == bench.topic.encode()


def test_twice_the_same_copy_in_a_tier_has_one_effect(bench, crowd):
    lamp = uuid.uuid4().hex
    bench.producer.produce(bench.topic, key=b"lamp", value=bench.value(lamp))
    bench.producer.flush()
    tries = []

    def fail_once(event):
        tries.append(event)
        if len(tries) == 1:
            raise ValueError("not yet")
        light(event)

    consumer = crowd.add(fail_once, Patience(attempts=1, delays=(1,)))
    read_until(consumer, lambda: tries)
    [copy] = bench.records(bench.tier(1))
    bench.producer.produce(
        bench.tier(1), key=copy.key(), value=copy.value(), headers=copy.headers()
    )
    last = bench.send_lamp()
    bench.producer.flush()
    read_until(consumer, lambda: times_lit(lamp) >= 1 and times_lit(last) == 1)
    read_until(consumer, lambda: bench.committed(topic=bench.tier(1)) == 2)

    assert times_lit(lamp) == 1
