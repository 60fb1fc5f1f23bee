"""What the raw worker has in hand when partitions go, and what it tells the broker."""

# ruff: noqa: ARG002 (fakes take what they are given)

from __future__ import annotations

import uuid
from collections import deque

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from apps.outbox.raw import RawWorker
from apps.outbox.tests.receiving import FakeMessage

RAW, TOPIC = "test.raw", "test.gates"


class Row(FakeMessage):
    def __init__(self, partition, offset, event_id=None):
        super().__init__(RAW, partition=partition, offset=offset, value=b"{}", key=b"gate")
        self.id = str(event_id or uuid.uuid4())

    def headers(self):
        columns = {"id": self.id, "topic": TOPIC, "version": "1", "type": "t", "record": "r"}
        columns |= {"aggregate_id": "gate", "occurred_at": "2026-11-24T00:00:00Z"}
        return [(name, value.encode()) for name, value in columns.items()]


class Client:
    """Gives a batch for each call, and takes partitions away during one of them."""

    def __init__(self, *batches, revoked_at=None):
        self.batches = deque(batches)
        self.commits, self.sought = [], []
        self.revoked_at = revoked_at
        self.calls = 0

    def subscribe(self, topics, *, on_assign, on_revoke):
        self.on_revoke = on_revoke

    def poll(self, timeout):
        [message] = self.batches.popleft() if self.batches else [None]
        return message

    def consume(self, count, timeout):
        self.calls += 1
        if self.calls == self.revoked_at:
            self.on_revoke(self, [TopicPartition(RAW, 1)])
        return self.batches.popleft() if self.batches else []

    def seek(self, place):
        self.sought.append((place.partition, place.offset))

    def commit(self, *, offsets, asynchronous):
        self.commits.append([(each.partition, each.offset) for each in offsets])

    def close(self):
        pass


class Sender:
    def __init__(self, *faults):
        self.sent, self.faults = [], deque(faults)

    def begin(self, records, *, waiting):
        self.sent.append([record.header("ce_id") for record in records])
        return records

    def land(self, records, *, waiting):
        if self.faults:
            raise self.faults.popleft()
        return [None for _ in records]

    def close(self):
        pass


class Codec:
    def encode(self, topic, record, payload):
        return payload

    def close(self):
        pass


@pytest.fixture
def started():
    def start(client, sender=None):
        worker = RawWorker(
            raw_topic=RAW,
            topics=frozenset({TOPIC}),
            client=client,
            codec=Codec(),
            sender=sender or Sender(),
            tail=lambda _topics: [],
        )
        worker.subscribe()
        return worker

    return start


def test_rows_of_a_partition_that_goes_are_left_to_whoever_has_it_next(started):
    kept, gone = Row(0, 5), Row(1, 7)
    sender, client = Sender(), Client([kept], [gone], [], revoked_at=2)
    worker = started(client, sender)

    worker.run_once()

    assert sender.sent == [[kept.id]]
    assert client.commits == [[(0, 6)]]


def test_event_that_comes_again_while_it_is_on_its_way_is_sent_once(started):
    row = Row(0, 5)
    again, other = Row(0, 6, row.id), Row(0, 7)
    sender = Sender()
    worker = started(Client([row], [], [again, other]), sender)

    worker.run_once()
    worker.run_once()

    assert sender.sent == [[row.id], [other.id]]


def test_batch_that_could_not_be_sent_is_read_again_with_the_one_behind_it(started):
    away = KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    row, behind = Row(0, 5), Row(1, 3)
    sender, client = Sender(away), Client([row], [], [behind], [row], [behind])
    worker = started(client, sender)

    worker.run_once()
    worker.run_once()

    assert client.sought == [(0, 5), (1, 3)]
    assert sender.sent == [[row.id], [row.id, behind.id]]


def test_offset_is_committed_once_since_its_topic_may_be_another_by_then(started):
    client = Client([Row(0, 5)])
    worker = started(client)

    worker.run_once()
    client.on_revoke(client, [TopicPartition(RAW, 0)])
    worker.close()

    assert client.commits == [[(0, 6)]]
