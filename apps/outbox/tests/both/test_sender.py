from __future__ import annotations

import os
import time
import uuid

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import NewTopic

from apps.outbox import kafka
from apps.outbox.dead_letters import Record
from apps.outbox.failures import LeaseLost
from apps.outbox.kafka import Forked, Sender, has_ended
from apps.outbox.tests.sending import wait_for


@pytest.fixture
def topic():
    """A topic of the test's own that takes small records only."""
    name = f"test.sender-{uuid.uuid4().hex[:12]}"
    admin = kafka.admin()
    admin.create_topics([NewTopic(name, 1, 1, config={"max.message.bytes": "20000"})])[name].result(
        30
    )
    yield name
    admin.delete_topics([name])[name].result(30)


@pytest.fixture
def sender():
    sender = Sender(timeout=15.0)
    yield sender
    sender.close()


def record(topic, key, size=10, mark=b""):
    # Random, since a batch is compressed before it is measured.
    return Record(topic=topic, key=key, value=mark + os.urandom(size), headers=(("h", b"1"),))


def values_on(topic, count):
    client = kafka.consumer(f"test-{uuid.uuid4().hex}")
    client.subscribe([topic])
    found = []

    def enough():
        message = client.poll(0.2)
        if message is not None and message.error() is None:
            found.append(message.value())
        return len(found) >= count

    try:
        wait_for(enough)
    finally:
        client.close()
    return found


def test_records_arrive_in_order(sender, topic):
    records = [record(topic, b"k", mark=str(n).encode()) for n in range(300)]

    assert sender.send(records) == [None] * 300
    assert values_on(topic, 300) == [each.value for each in records]


def test_record_that_is_refused_is_not_overtaken_by_its_key_and_holds_up_no_other(sender, topic):
    first = record(topic, b"a")
    large = record(topic, b"a", 50_000)
    behind = record(topic, b"a")
    other = record(topic, b"b")

    results = sender.send([first, large, behind, other])

    assert [error and error.code() for error in results] == [
        None,
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.MSG_SIZE_TOO_LARGE,
        None,
    ]
    assert behind.value not in values_on(topic, 2)
    assert sender.send([behind]) == [None]


@pytest.mark.parametrize(
    "error",
    [
        SystemError("flush returned NULL without setting an exception"),
        KafkaException(KafkaError(KafkaError._GAPLESS_GUARANTEE, "a gap", fatal=True)),
    ],
)
def test_producer_that_has_stopped_at_a_gap_is_known_by_whatever_python_makes_of_it(error):
    assert has_ended(error)


def test_timeout_does_not_end_a_producer():
    assert not has_ended(KafkaException(KafkaError(KafkaError._TIMED_OUT)))


def test_record_that_is_too_large_for_any_broker_fails_at_once(sender, topic):
    results = sender.send([record(topic, b"a", 3_000_000), record(topic, b"b")])

    assert results[0].code() == KafkaError.MSG_SIZE_TOO_LARGE
    assert results[1] is None


def test_one_record_is_refused_by_an_exception(sender, topic):
    with pytest.raises(KafkaException):
        sender.send_one(topic, b"a", os.urandom(50_000), ())


def test_kafka_that_is_away_is_reported_in_time_and_waiting_is_told(topic):
    sender = Sender(timeout=1.0, options={"bootstrap.servers": "127.0.0.1:1"})
    calls = []
    began = time.monotonic()

    with pytest.raises(KafkaException) as caught:
        sender.send([record(topic, b"a")], waiting=lambda: calls.append(1))

    assert caught.value.args[0].code() == KafkaError._TIMED_OUT
    assert calls
    assert time.monotonic() - began < 10


def test_what_waiting_raises_ends_the_sending(topic):
    sender = Sender(timeout=60.0, options={"bootstrap.servers": "127.0.0.1:1"})

    def give_up():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        sender.send([record(topic, b"a")], waiting=give_up)


def test_sender_of_the_parent_refuses_to_work_in_a_forked_child(sender, topic, monkeypatch):
    sender.send([record(topic, b"a")])
    parent = os.getpid()

    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: parent + 1)
        with pytest.raises(Forked):
            sender.send([record(topic, b"a")])

    assert sender.send([record(topic, b"a")]) == [None]


@pytest.fixture
def fenced():
    """Senders that send in transactions, each under a name of its own."""
    made = []

    def make():
        sender = Sender(timeout=30.0, is_fenced=True)
        sender.adopt(uuid.uuid4().hex)
        made.append(sender)
        return sender

    yield make
    for sender in made:
        sender.close()


def test_batch_in_a_transaction_arrives_in_order(fenced, topic):
    sender = fenced()
    records = [record(topic, b"k", mark=str(n).encode()) for n in range(100)]

    assert sender.send(records[:50]) == [None] * 50
    assert sender.send(records[50:]) == [None] * 50
    assert values_on(topic, 100) == [each.value for each in records]


def test_refused_record_is_left_out_of_its_transaction_with_what_is_behind_it(fenced, topic):
    first, large, behind = record(topic, b"a"), record(topic, b"a", 50_000), record(topic, b"a")
    other = record(topic, b"b")

    results = fenced().send([first, large, behind, other])

    assert [error and error.code() for error in results] == [
        None,
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.MSG_SIZE_TOO_LARGE,
        None,
    ]
    assert set(values_on(topic, 2)) == {first.value, other.value}


def test_nothing_that_a_fenced_sender_still_holds_ever_arrives(fenced, topic):
    late, successor = fenced(), fenced()
    late.send([record(topic, b"a", mark=b"1")])
    flight = late.begin([record(topic, b"a", mark=b"2")])

    successor.fence(late._owner)
    with pytest.raises(LeaseLost):
        late.land(flight)
    successor.send([record(topic, b"a", mark=b"3")])

    assert [value[:1] for value in values_on(topic, 2)] == [b"1", b"3"]
