from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from apps.outbox.consumer import Consumer, to_record
from apps.outbox.failures import Unavailable
from apps.outbox.lanes import Patience
from apps.outbox.receiver import Outcome
from apps.outbox.tests.receiving import Clock, FakeClient, FakeMessage, FakeParking, FakeReceiver

DONE = Outcome.PROCESSED


def make(client, receiver, **options):
    clock = Clock()
    options = {"send": pytest.fail, "parking": FakeParking()} | options
    consumer = Consumer("readers", receiver, client=client, clock=clock, **options)
    consumer.subscribe()
    return consumer, clock


class UnreadableHeaders(FakeMessage):
    """A record whose header's name is not UTF-8: Kafka's client then returns none of them."""

    def headers(self):
        return [(b"\xff\xfe".decode(), b"")]


class HeadersThatBreakTheClient(UnreadableHeaders):
    """The same as the client's C code does it, in the words of Python."""

    def headers(self):
        try:
            return super().headers()
        except UnicodeDecodeError as exc:
            raise SystemError("returned a result with an exception set") from exc


@pytest.mark.parametrize("message", [UnreadableHeaders, HeadersThatBreakTheClient])
def test_headers_that_cannot_be_read_are_the_records_fault_and_not_ours(message):
    record = to_record(message(offset=4))

    assert (record.offset, record.value, record.headers) == (4, b"\x00...", ())
    assert "invalid start byte" in record.headers_fault


def turn(consumer, times):
    for _ in range(times):
        consumer.run_once()


def test_an_offset_is_committed_after_its_record_has_taken_effect():
    client = FakeClient(FakeMessage(offset=4))
    receiver = FakeReceiver(otherwise=DONE)
    consumer, _ = make(client, receiver)

    worked = consumer.run_once()

    assert worked
    assert receiver.received == [(0, 4)]
    assert client.commits == [(0, 5, True)]


def test_nothing_is_committed_for_a_record_that_waits():
    client = FakeClient(FakeMessage(offset=4))
    consumer, _ = make(client, FakeReceiver(otherwise=ValueError("a bug")))

    turn(consumer, 3)

    assert client.commits == []
    assert client.paused == {("test.lamps", 0)}


def test_a_record_is_tried_again_when_it_is_due_and_not_before():
    client = FakeClient(FakeMessage(offset=4))
    receiver = FakeReceiver(ValueError("once"), otherwise=DONE)
    consumer, clock = make(client, receiver)

    turn(consumer, 3)
    tried_early = len(receiver.received)
    clock.now += 1
    turn(consumer, 1)

    assert tried_early == 1
    assert receiver.received == [(0, 4), (0, 4)]
    assert client.paused == set()
    assert client.commits == [(0, 5, True)]


def test_other_partitions_go_on_while_one_waits():
    client = FakeClient(FakeMessage(partition=0), FakeMessage(partition=1))
    consumer, _ = make(client, FakeReceiver(ValueError("a bug"), otherwise=DONE))

    turn(consumer, 2)

    assert client.commits == [(1, 1, True)]


def test_a_record_that_was_under_way_at_the_pause_stays_behind_the_first():
    client = FakeClient(FakeMessage(offset=4), FakeMessage(offset=5))
    receiver = FakeReceiver(ValueError("once"), otherwise=DONE)
    consumer, clock = make(client, receiver)

    turn(consumer, 2)
    clock.now += 1
    turn(consumer, 2)

    assert receiver.received == [(0, 4), (0, 4), (0, 5)]
    assert client.paused == set()


def test_the_loop_polls_no_longer_than_until_the_next_try():
    client = FakeClient(FakeMessage())
    consumer, _ = make(
        client,
        FakeReceiver(otherwise=ValueError("a bug")),
        patience=Patience(first_delay=0.4),
    )

    turn(consumer, 2)

    assert 0.1 < client.polled_for <= 0.4


def test_an_outage_spends_no_attempt_however_long_it_lasts():
    client = FakeClient(FakeMessage())
    receiver = FakeReceiver(*[Unavailable("away")] * 50, otherwise=DONE)
    consumer, clock = make(client, receiver, patience=Patience(attempts=2))

    for _ in range(51):
        consumer.run_once()
        clock.now += 10

    assert client.commits[-1] == (0, 1, True)


def test_revoked_partitions_are_committed_and_their_records_forgotten():
    client = FakeClient(FakeMessage(offset=4), FakeMessage(offset=5))
    receiver = FakeReceiver(DONE, otherwise=ValueError("a bug"))
    consumer, clock = make(client, receiver)
    turn(consumer, 2)

    client.callbacks["on_revoke"](client, [TopicPartition("test.lamps", 0)])
    clock.now += 100
    worked = consumer.run_once()

    assert client.commits[-1] == (0, 5, False)
    assert client.paused == set()
    assert not worked


def test_nothing_is_committed_for_partitions_that_were_lost():
    client = FakeClient(FakeMessage(partition=0), FakeMessage(partition=1))
    consumer, _ = make(client, FakeReceiver(otherwise=DONE))
    turn(consumer, 2)
    client.commits.clear()

    client.callbacks["on_lost"](client, [TopicPartition("test.lamps", 1)])
    consumer.close()

    assert client.commits == [(0, 1, False)]
    assert client.is_closed


def test_a_refused_commit_does_not_stop_the_reading():
    client = FakeClient(FakeMessage(offset=4), FakeMessage(offset=5))
    client.commit_error = KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION))
    receiver = FakeReceiver(otherwise=DONE)
    consumer, _ = make(client, receiver)

    turn(consumer, 2)
    consumer.close()

    assert receiver.received == [(0, 4), (0, 5)]
    assert client.is_closed


def test_trouble_that_the_client_mends_by_itself_does_not_stop_the_reading():
    trouble = FakeMessage(error=KafkaError(KafkaError._ALL_BROKERS_DOWN))
    consumer, _ = make(FakeClient(trouble), FakeReceiver())

    assert not consumer.run_once()


def test_a_client_that_can_never_work_again_stops_the_consumer():
    fatal = FakeMessage(error=KafkaError(KafkaError._FENCED, "fenced", fatal=True))
    consumer, _ = make(FakeClient(fatal), FakeReceiver())

    with pytest.raises(KafkaException):
        consumer.run_once()


def test_the_loop_ends_after_the_records_in_hand_and_leaves_the_group():
    client = FakeClient(FakeMessage(offset=4), FakeMessage(offset=5))
    receiver = FakeReceiver(otherwise=DONE)
    rounds = []
    consumer, _ = make(client, receiver, batch=1, alive=lambda: rounds.append(consumer.stop()))

    consumer.run()

    assert receiver.received == [(0, 4)]
    assert client.commits[-1] == (0, 5, False)
    assert client.is_closed


def test_the_chore_waits_for_an_outage_and_for_its_second():
    done = []

    def chore():
        done.append(1)
        raise Unavailable("away")

    consumer, clock = make(FakeClient(), FakeReceiver(), chore=chore)

    turn(consumer, 3)
    clock.now += 1
    turn(consumer, 3)

    assert len(done) == 2


def test_a_fault_of_the_chore_is_not_hidden():
    def chore():
        raise ValueError("a bug")

    consumer, _ = make(FakeClient(), FakeReceiver(), chore=chore)

    with pytest.raises(ValueError, match="a bug"):
        consumer.run_once()


@pytest.mark.parametrize(
    ("failures", "least", "most"), [(1, 0.1, 0.2), (4, 0.8, 1.6), (99, 15, 30)]
)
def test_waits_double_up_to_a_limit_and_are_scattered(failures, least, most):
    waits = [Patience().after_failure(failures) for _ in range(50)]

    assert all(least <= wait <= most for wait in waits)
    assert len(set(waits)) > 1
