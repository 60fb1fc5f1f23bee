from __future__ import annotations

import threading
import uuid

import pytest
import structlog
from confluent_kafka.schema_registry import SchemaRegistryClient
from django.db import close_old_connections, connection

from apps.outbox import dead_letters, kafka, metrics
from apps.outbox.codec import Codec
from apps.outbox.consumer import DlqLimit
from apps.outbox.dead_letters import State
from apps.outbox.lanes import Patience
from apps.outbox.models import DeadLetter, OutboxEvent
from apps.outbox.registry import Registry
from apps.outbox.tests.receiving import (
    STRANGER,
    UNREAD,
    Bench,
    Crowd,
    light,
    read_until,
    times_lit,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def readers(bench):
    readers = Crowd(bench)
    yield readers
    readers.close()


def letters_of(bench):
    return list(DeadLetter.objects.filter(group=bench.group))


def test_an_event_takes_effect_and_its_offset_is_committed(bench, readers):
    lamp = bench.send_lamp()
    consumer = readers.add()

    read_until(consumer, lambda: times_lit(lamp) == 1)
    consumer.close()
    readers.made.clear()

    assert bench.committed() == 1


def test_an_event_that_is_sent_twice_takes_effect_once(bench, readers):
    lamp = uuid.uuid4().hex
    event_id = bench.send(bench.value(lamp))
    bench.send(bench.value(lamp), event_id=event_id)
    last = bench.send_lamp()
    consumer = readers.add()

    read_until(consumer, lambda: times_lit(last) == 1)

    assert times_lit(lamp) == 1


def test_poison_of_each_kind_is_a_dead_letter_and_the_next_record_is_processed(bench, readers):
    stranger = bench.register(STRANGER)
    good = bench.value("x")
    poison = {
        b'{"lamp_id": "json"}': "not_avro",
        b"\x00\x7f\xff\xff\xfe" + good[5:]: "unknown_schema",
        good[:-1]: "not_avro",
        good + b"more": "not_avro",
        bench.value("x", schema=STRANGER, schema_id=stranger): "wrong_schema",
        b"": "empty",
        None: "empty",
    }
    for value in poison:
        bench.send(value)
    last = bench.send_lamp()
    consumer = readers.add()

    with structlog.testing.capture_logs() as logs:
        read_until(consumer, lambda: times_lit(last) == 1)

    letters = sorted(letters_of(bench), key=lambda letter: letter.offset)
    assert [letter.error_kind for letter in letters] == list(poison.values())
    assert {letter.attempts for letter in letters} == {1}
    records = bench.records(bench.dlq, len(poison))
    assert [record.value() for record in records] == list(poison)
    reasons = [dict(record.headers())["outbox-error-kind"].decode() for record in records]
    assert reasons == list(poison.values())
    lines = [each for each in logs if each["event"] == "message_dead"]
    assert sorted(line["kind"] for line in lines) == sorted(poison.values())
    for line in lines:
        assert (line["log_level"], line["topic"]) == ("error", bench.topic)
        assert line["error"]
        assert {"group", "partition", "offset", "key", "event_id"} <= line.keys()
    counter = metrics.received.labels(bench.group, bench.topic, "dead")
    assert counter._value.get() == len(poison)


def test_a_header_that_is_no_id_is_poison(bench, readers):
    bench.send(bench.value("x"), event_id="x" * 100)
    consumer = readers.add()

    [letter] = read_until(consumer, lambda: letters_of(bench))

    assert letter.error_kind == "bad_headers"


def test_a_type_that_nobody_reads_is_skipped(bench, readers):
    unread = bench.register(UNREAD)
    bench.send(bench.value("x", schema=UNREAD, schema_id=unread))
    last = bench.send_lamp()
    consumer = readers.add()

    read_until(consumer, lambda: times_lit(last) == 1)

    assert letters_of(bench) == []


def test_a_record_without_an_id_takes_effect_once(bench, readers):
    lamp = uuid.uuid4().hex
    bench.producer.produce(bench.topic, key=b"lamp", value=bench.value(lamp))
    bench.producer.flush()
    consumer = readers.add()

    read_until(consumer, lambda: times_lit(lamp) == 1)


def test_a_handler_that_keeps_failing_makes_a_dead_letter_and_the_next_record_is_processed(
    bench, readers
):
    lamp = bench.send_lamp()
    last = bench.send_lamp()
    tries = []

    def refuse_the_first(event):
        if event.lamp_id == lamp:
            tries.append(event)
            light(event)
            raise ValueError("no such socket")
        light(event)

    consumer = readers.add(refuse_the_first)

    read_until(consumer, lambda: times_lit(last) == 1)

    [letter] = letters_of(bench)
    assert len(tries) == 3
    assert times_lit(lamp) == 0
    assert (letter.error_kind, letter.error_message) == ("handler", "ValueError: no such socket")
    assert (letter.attempts, bytes(letter.key)) == (3, lamp.encode())


def test_an_outage_of_the_registry_spends_no_attempt(bench, readers):
    away = Registry(SchemaRegistryClient({"url": "http://127.0.0.1:9", "max.retries": 0}))
    decoders = [Codec(away)] * 5 + [Codec(bench.registry)]
    lamp = bench.send_lamp()

    class RegistryComesBack:
        def decode(self, value):
            return (decoders.pop(0) if decoders[1:] else decoders[0]).decode(value)

    consumer = readers.add(decoder=RegistryComesBack())

    read_until(consumer, lambda: times_lit(lamp) == 1)
    away.client.close()

    assert letters_of(bench) == []


def test_a_handler_that_fails_once_is_tried_again_before_the_next_record(bench, readers):
    lamps = [bench.send_lamp(), bench.send_lamp()]
    lit = []

    def fail_once(event):
        lit.append(event.lamp_id)
        if len(lit) == 1:
            raise ValueError("not yet")
        light(event)

    consumer = readers.add(fail_once)

    read_until(consumer, lambda: times_lit(lamps[1]) == 1)

    assert lit == [lamps[0], *lamps]
    assert letters_of(bench) == []


def test_a_replayed_letter_takes_effect_once_however_often_it_is_replayed(bench, readers):
    lamp = bench.send_lamp()
    is_broken = True

    def maybe_light(event):
        if is_broken:
            raise ValueError("broken")
        light(event)

    consumer = readers.add(maybe_light)
    [letter] = read_until(consumer, lambda: letters_of(bench))
    is_broken = False
    send = kafka.Sender().send_one

    dead_letters.request_replay(letter.pk, by="anna")
    read_until(consumer, lambda: times_lit(lamp) == 1)
    DeadLetter.objects.update(state=State.OPEN)
    dead_letters.replay(letter.pk, send, by="ben")
    last = bench.send_lamp(topic=bench.retry)
    read_until(consumer, lambda: times_lit(last) == 1)

    [letter] = letters_of(bench)
    assert times_lit(lamp) == 1
    assert (letter.state, letter.replays) == (State.REPLAYED, 2)


def test_a_replayed_letter_that_fails_again_is_open_again(bench, readers):
    bench.send_lamp()

    def fail(_event):
        raise ValueError("still broken")

    consumer = readers.add(fail)
    [letter] = read_until(consumer, lambda: letters_of(bench))
    dead_letters.replay(letter.pk, kafka.Sender().send_one, by="anna")

    def is_open_again():
        [now] = letters_of(bench)
        return now.state == State.OPEN and now.attempts == 6

    read_until(consumer, is_open_again)


def test_too_many_dead_letters_stop_the_consumer_and_lose_nothing(bench, readers):
    for _ in range(5):
        bench.send(b"junk")
    consumer = readers.add(patience=Patience(limit=3))

    with pytest.raises(DlqLimit, match="3 records"):
        read_until(consumer, lambda: False)
    consumer.close()
    readers.made.clear()

    assert len(letters_of(bench)) == 3
    assert bench.committed() == 3


@pytest.fixture
def wide():
    """Topics of four partitions."""
    bench = Bench(partitions=4)
    yield bench
    bench.close()


def test_partitions_move_to_a_second_consumer_and_back_without_a_second_effect(wide):
    wide_readers = Crowd(wide)
    lamps = [wide.send_lamp(partition=number % 4) for number in range(40)]
    first = wide_readers.add()
    read_until(first, lambda: times_lit(lamps[0]) == 1)
    stop = threading.Event()
    second = wide_readers.add()

    def run_second():
        while not stop.is_set():
            second.run_once()
        second.close()
        close_old_connections()
        connection.close()

    thread = threading.Thread(target=run_second)
    thread.start()
    lamps += [wide.send_lamp(partition=number % 4) for number in range(40)]
    read_until(first, lambda: all(times_lit(lamp) for lamp in lamps[40:]))
    stop.set()
    thread.join()
    lamps += [wide.send_lamp(partition=number % 4) for number in range(8)]
    read_until(first, lambda: all(times_lit(lamp) for lamp in lamps))
    wide_readers.made.remove(second)
    wide_readers.close()

    assert {times_lit(lamp) for lamp in lamps} == {1}
    assert OutboxEvent.objects.filter(aggregate_type="lit").count() == len(lamps)
