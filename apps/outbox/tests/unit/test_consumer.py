from __future__ import annotations

import json

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from prometheus_client import REGISTRY

from apps.outbox import burials, reading, tiers
from apps.outbox.consumer import Consumer, to_record
from apps.outbox.dead_letters import Record
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


def test_records_of_all_partitions_are_tried_together_each_partition_in_its_order():
    messages = [FakeMessage(partition=n % 2, offset=n // 2) for n in range(6)]
    client = FakeClient(*messages)
    receiver = FakeReceiver(otherwise=DONE)
    consumer, _ = make(client, receiver)

    turn(consumer, 1)

    assert receiver.received == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]
    assert sorted(client.commits) == [(0, 3, True), (1, 3, True)]


def test_no_more_is_taken_than_fits_into_a_batch():
    client = FakeClient(*[FakeMessage(offset=n) for n in range(5)])
    receiver = FakeReceiver(otherwise=DONE)
    consumer, _ = make(client, receiver, batch=3)

    turn(consumer, 1)

    assert receiver.received == [(0, 0), (0, 1), (0, 2)]


def test_only_what_took_effect_of_a_batch_is_committed():
    client = FakeClient(*[FakeMessage(offset=n) for n in range(3)])
    receiver = FakeReceiver(DONE, ValueError("a bug"), otherwise=DONE)
    consumer, clock = make(client, receiver)

    turn(consumer, 2)
    first = list(client.commits)
    for _ in range(3):
        clock.now += 1
        turn(consumer, 1)

    assert first == [(0, 1, True)]
    assert client.commits[-1] == (0, 3, True)
    assert receiver.received == [(0, 0), (0, 1), (0, 1), (0, 2)]


def test_batches_shrink_when_one_fails_and_grow_again():
    client = FakeClient(*[FakeMessage(offset=n) for n in range(7)])
    receiver = FakeReceiver(ValueError("a bug"), otherwise=DONE)
    consumer, clock = make(client, receiver, batch=4)
    sizes = []
    receive_all = receiver.receive_all
    receiver.receive_all = lambda records, *rest: (
        sizes.append(len(records)) or receive_all(records, *rest)
    )

    turn(consumer, 1)
    clock.now += 1
    turn(consumer, 3)

    assert sizes == [4, 2, 4, 1]


def test_a_record_that_keeps_failing_is_parked_with_those_of_its_key_and_others_go_on():
    client = FakeClient(
        FakeMessage(offset=0),
        FakeMessage(offset=1),
        FakeMessage(offset=2, key=b"other"),
        FakeMessage(offset=3),
    )
    parking = FakeParking()
    receiver = FakeReceiver(ValueError("a bug"), otherwise=DONE)
    consumer, clock = make(
        client, receiver, parking=parking, patience=Patience(attempts=1, delays=(5,))
    )

    for _ in range(3):
        turn(consumer, 1)
        clock.now += 1

    [(head, failure, delay)] = parking.heads
    assert (head.offset, failure.attempts, delay) == (0, 1, 5)
    assert [record.offset for record in parking.behind] == [1, 3]
    assert receiver.received == [(0, 0), (0, 2)]
    assert client.commits[-1] == (0, 4, True)


def test_an_outage_while_a_record_is_parked_does_not_try_it_again():
    class AwayAtFirst(FakeParking):
        tries = 0

        def park(self, *args):
            self.tries += 1
            if self.tries == 1:
                raise Unavailable("away")
            super().park(*args)

    client = FakeClient(FakeMessage(offset=4))
    parking = AwayAtFirst()
    receiver = FakeReceiver(ValueError("a bug"), otherwise=DONE)
    consumer, clock = make(
        client, receiver, parking=parking, patience=Patience(attempts=1, delays=(5,))
    )

    turn(consumer, 1)
    waiting = list(client.commits)
    clock.now += 10
    turn(consumer, 1)

    assert waiting == []
    assert receiver.received == [(0, 4)]
    assert [failure.attempts for _, failure, _ in parking.heads] == [1]
    assert client.commits == [(0, 5, True)]


def test_a_tier_is_paused_until_its_first_record_is_due():
    failed = burials.failed("readers", ValueError("x"), attempts=3, first_failed_at=None)
    record = Record(topic="test.lamps", partition=0, offset=4, key=b"lamp", value=b"v")
    headers = tiers.wrap(record, failed, 60)
    tier = "test.lamps.readers.retry.1m"
    client = FakeClient(FakeMessage(tier, offset=9, headers=headers), FakeMessage(offset=8))
    receiver = FakeReceiver(otherwise=DONE)
    consumer, _ = make(client, receiver)

    turn(consumer, 1)

    assert receiver.received == [(0, 8)]
    assert client.paused == {(tier, 0)}
    assert client.commits == [(0, 9, True)]


def test_blocked_keys_are_learnt_before_a_partition_is_worked_on_and_forgotten_with_it():
    client = FakeClient()
    parking = FakeParking()
    consumer, _ = make(client, FakeReceiver(), parking=parking)
    place = TopicPartition("test.lamps", 3)

    client.callbacks["on_assign"](client, [place])
    turn(consumer, 1)
    known = set(parking.taken)
    client.callbacks["on_revoke"](client, [place])

    assert known == {("test.lamps", 3)}
    assert parking.taken == set()


def test_how_far_the_reader_is_behind_is_told_by_topic():
    partitions = {"0": {"consumer_lag": 3}, "1": {"consumer_lag": 4}, "-1": {"consumer_lag": -1}}

    reading.lag_listener("lagging")(json.dumps({"topics": {"seats": {"partitions": partitions}}}))

    labels = {"group": "lagging", "topic": "seats"}
    assert REGISTRY.get_sample_value("consumer_lag", labels) == 7
