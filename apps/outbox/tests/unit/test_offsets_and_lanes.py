from __future__ import annotations

from datetime import timedelta

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from django.utils import timezone

from apps.outbox import burials, tiers
from apps.outbox.dead_letters import Record
from apps.outbox.failures import Poison
from apps.outbox.lanes import MOST_VERSIONS, Lane, Patience
from apps.outbox.reading import Offsets
from apps.outbox.tests.receiving import Clock, FakeClient
from apps.outbox.topics import tier_name

REFUSED = KafkaError(KafkaError.REBALANCE_IN_PROGRESS)


def offsets_of(*lanes):
    client, clock = FakeClient(), Clock()
    offsets = Offsets("readers", client, {lane.place: lane for lane in lanes}, clock)
    return offsets, client, clock


def lane(partition=0, done=None):
    return Lane(topic="test.lamps", partition=partition, done=done)


def test_an_offset_is_committed_once():
    offsets, client, clock = offsets_of(lane(done=5))

    offsets.commit()
    clock.now += 10
    offsets.commit()

    assert client.commits == [(0, 5, True)]
    assert offsets.time_left() is None


def test_a_commit_that_the_broker_refused_is_repeated_though_nothing_more_comes():
    offsets, client, clock = offsets_of(lane(0, done=5), lane(1, done=8))
    offsets.commit()

    offsets.answered(REFUSED, [TopicPartition("test.lamps", 1, 8)])
    left = offsets.time_left()
    clock.now += left
    offsets.commit()

    assert left > 0
    assert client.commits == [(0, 5, True), (1, 8, True), (1, 8, True)]


def test_a_commit_that_the_client_refused_is_repeated():
    offsets, client, clock = offsets_of(lane(done=5))
    client.commit_error = KafkaException(REFUSED)
    offsets.commit()
    client.commit_error = None
    clock.now += offsets.time_left()

    offsets.commit()

    assert client.commits == [(0, 5, True)]


def test_a_refusal_for_a_partition_that_is_gone_is_nobodys_concern():
    offsets, client, _ = offsets_of(lane(done=5))
    offsets.commit()

    offsets.answered(REFUSED, [TopicPartition("test.lamps", 7, 1)])

    assert offsets.time_left() is None
    assert len(client.commits) == 1


def versions(*numbers, key=b"lamp"):
    mine = lane()
    return [
        mine.leaves_gap(Record(topic="t", key=key, value=b"", headers=(("ce_sequence", number),)))
        for number in numbers
    ]


def test_a_version_whose_predecessor_never_came_leaves_a_gap():
    assert versions(b"4", b"5", b"7", b"8") == [False, False, True, False]


def test_a_version_that_comes_again_leaves_none():
    assert versions(b"4", b"5", b"4", b"6") == [False, False, False, False]


@pytest.mark.parametrize("number", [b"", b"x", b"-1", None, b"\xff", "²".encode()])
def test_what_is_no_version_leaves_none(number):
    assert versions(b"1", number, b"2") == [False, False, False]


def test_the_versions_of_the_latest_keys_are_known():
    mine = lane()
    for number in range(MOST_VERSIONS + 5):
        record = Record(
            topic="t", key=str(number).encode(), value=b"", headers=(("ce_sequence", b"1"),)
        )
        mine.leaves_gap(record)

    assert len(mine.versions) == MOST_VERSIONS
    assert b"0" not in mine.versions


def failure(attempts, age=0.0):
    first = timezone.now() - timedelta(seconds=age)
    return burials.failed("readers", ValueError("x"), attempts=attempts, first_failed_at=first)


@pytest.mark.parametrize(
    ("attempts", "age", "delay"),
    [(1, 0, 5), (3, 0, 5), (4, 0, 60), (5, 0, 600), (6, 0, None), (3, 50, 5), (3, 101, None)],
)
def test_a_record_is_put_off_for_longer_each_time_until_its_tries_or_its_time_are_over(
    attempts, age, delay
):
    patience = Patience(attempts=3, delays=(5, 60, 600), deadline=100)

    assert patience.put_off(failure(attempts, age)) == delay


def test_poison_has_its_own_kind_and_a_handlers_failure_the_name_of_its_error():
    poison = burials.failed("g", Poison("empty", "no value"), attempts=1, first_failed_at=None)

    assert (poison.kind, poison.message) == ("empty", "no value")
    assert (failure(1).kind, failure(1).message) == ("handler", "ValueError: x")


ORIGINAL = Record(
    topic="test.lamps",
    partition=2,
    offset=7,
    key=b"k",
    value=b"v",
    headers=(("ce_id", b"1"), (tiers.ATTEMPTS, b"theirs")),
)


def copied(record, headers):
    return Record(
        topic="test.lamps.g.retry.5s",
        partition=0,
        offset=40,
        key=record.key,
        value=record.value,
        headers=headers,
    )


def test_a_tiers_copy_is_the_record_again_with_what_became_of_it():
    failed = failure(3, age=10)

    entry = tiers.unwrap(copied(ORIGINAL, tiers.wrap(ORIGINAL, failed, 60)))

    assert entry.record == ORIGINAL
    assert (entry.offset, entry.attempts) == (40, 3)
    assert entry.first_failed_at == failed.first_failed_at
    assert entry.due_at == failed.last_failed_at + timedelta(seconds=60)


@pytest.mark.parametrize("place", range(len(tiers.NAMES)))
def test_a_copy_that_is_none_of_ours_is_a_record_like_any_other(place):
    headers = list(tiers.wrap(ORIGINAL, failure(3), 60))
    headers[place - len(tiers.NAMES)] = (tiers.NAMES[place], b"\xff")
    broken = copied(ORIGINAL, tuple(headers))

    entry = tiers.unwrap(broken)

    assert (entry.record, entry.due_at) == (broken, None)


@pytest.mark.parametrize(
    ("delay", "name"), [(5, "5s"), (60, "1m"), (90, "90s"), (600, "10m"), (7200, "2h")]
)
def test_a_tier_is_named_by_its_delay(delay, name):
    assert tier_name(delay) == name


def test_an_offset_that_the_broker_has_is_not_committed_again_when_its_partition_goes():
    offsets, client, _ = offsets_of(lane(0, done=5), lane(1, done=8))
    offsets.commit()
    offsets.answered(None, [TopicPartition("test.lamps", 0, 5)])

    offsets.commit_now([("test.lamps", 0), ("test.lamps", 1)])

    assert client.commits == [(0, 5, True), (1, 8, True), (1, 8, False)]
