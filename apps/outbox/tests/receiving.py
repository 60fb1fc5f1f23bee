"""What the tests of receiving share: one event, fakes, and records on real servers."""

from __future__ import annotations

import io
import json
import struct
import time
import uuid
from collections import deque
from dataclasses import dataclass
from typing import ClassVar

import fastavro
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from confluent_kafka.schema_registry import Schema
from django.utils import timezone

from apps.outbox import dead_letters, kafka
from apps.outbox.codec import Codec
from apps.outbox.consumer import Consumer
from apps.outbox.lanes import Patience
from apps.outbox.models import OutboxEvent
from apps.outbox.reading import CLIENT_OPTIONS, Answers
from apps.outbox.receiver import Receiver
from apps.outbox.registry import Registry
from apps.outbox.topics import dead_letter_topic, retry_topic, tier_topic

DEADLINE_SECONDS = 30
QUICK = Patience(attempts=3, first_delay=0.02, longest_delay=0.05)
SCHEMA = {
    "type": "record",
    "name": "LampLit",
    "namespace": "test.lamps",
    "fields": [
        {"name": "lamp_id", "type": "string"},
        {"name": "version", "type": "long"},
        {"name": "watts", "type": "int", "default": 40},
    ],
}
STRANGER = SCHEMA | {"name": "ChairSold", "namespace": "test.chairs"}
UNREAD = SCHEMA | {"name": "LampBroken"}


@dataclass(frozen=True, kw_only=True)
class LampState:
    topic: ClassVar[str] = "test.lamps"
    namespace: ClassVar[str] = "test.lamps"
    type: ClassVar[str] = "test.lamps.lamp.lit.v1"
    aggregate_type: ClassVar[str] = "lamp"

    lamp_id: str
    version: int

    @property
    def aggregate_id(self):
        return self.lamp_id


def event_class(topic):
    """Return the event class LampLit of a topic of its own."""
    return type("LampLit", (LampState,), {"topic": topic})


def light(event):
    """Leave one more row for the lamp: the effect that must happen once."""
    OutboxEvent.objects.create(
        topic="none",
        key=event.lamp_id,
        aggregate_type="lit",
        aggregate_id=event.lamp_id,
        version=OutboxEvent.objects.filter(aggregate_id=event.lamp_id).count() + 1,
        type=event.type,
        record="none",
        payload=b"{}",
        occurred_at=timezone.now(),
        due_at=timezone.now(),
        state=OutboxEvent.State.CAPTURED,
    )


def times_lit(lamp_id):
    return OutboxEvent.objects.filter(aggregate_type="lit", aggregate_id=lamp_id).count()


def avro(schema, **fields):
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(schema), {"watts": 40} | fields)
    return body.getvalue()


class Bench:
    """Topics of one test's own on the real Kafka, and their schemas in the real registry."""

    def __init__(self, *, partitions=1):
        self.topic = f"test.lamps-{uuid.uuid4().hex[:12]}"
        self.group = f"readers-{uuid.uuid4().hex[:12]}"
        self.retry = retry_topic(self.topic, self.group)
        self.dlq = dead_letter_topic(self.topic, self.group)
        self.event_class = event_class(self.topic)
        self.registry = Registry.from_settings()
        self.producer = Producer(kafka.client_settings() | {"linger.ms": 0})
        self.admin = AdminClient(kafka.client_settings())
        topics = [
            NewTopic(name, num_partitions=partitions, replication_factor=1)
            for name in (self.topic, self.retry, self.dlq)
        ]
        for made in self.admin.create_topics(topics).values():
            made.result(DEADLINE_SECONDS)
        self.made = [self.topic, self.retry, self.dlq]
        self.schema_id = self.register(SCHEMA)

    def tier(self, delay):
        return tier_topic(self.topic, self.group, delay)

    def create_tiers(self, *delays):
        tiers = [self.tier(delay) for delay in delays]
        new = [NewTopic(tier, num_partitions=1, replication_factor=1) for tier in tiers]
        for made in self.admin.create_topics(new).values():
            made.result(DEADLINE_SECONDS)
        self.made += tiers

    def register(self, schema):
        subject = f"{self.topic}-{schema['namespace']}.{schema['name']}"
        return self.registry.client.register_schema(subject, Schema(json.dumps(schema), "AVRO"))

    def value(self, lamp_id, version=1, schema=SCHEMA, schema_id=None):
        number = self.schema_id if schema_id is None else schema_id
        return struct.pack(">BI", 0, number) + avro(schema, lamp_id=lamp_id, version=version)

    def send(self, value, *, key=b"lamp", topic=None, partition=0, event_id=None, headers=()):
        """Put a record on the topic, and return its event id."""
        event_id = event_id or str(uuid.uuid4())
        self.producer.produce(
            topic or self.topic,
            key=key,
            value=value,
            partition=partition,
            headers=[("ce_id", event_id), *headers],
        )
        assert self.producer.flush(DEADLINE_SECONDS) == 0
        return event_id

    def send_version(self, lamp_id, version, **options):
        """Send an event of the lamp with that version, and return its id."""
        headers = [("ce_sequence", str(version).encode()), *options.pop("headers", ())]
        return self.send(
            self.value(lamp_id, version), key=lamp_id.encode(), headers=headers, **options
        )

    def send_lamp(self, lamp_id=None, **options):
        lamp_id = lamp_id or uuid.uuid4().hex
        self.send(self.value(lamp_id), key=lamp_id.encode(), **options)
        return lamp_id

    def records(self, topic, count=1):
        """Return the first `count` records of the topic."""
        client = kafka.consumer(f"test-{uuid.uuid4().hex}")
        client.subscribe([topic])
        found = []
        try:
            wait_for(lambda: _gather(client, found) >= count)
        finally:
            client.close()
        return found

    def end(self, topic, partition=0):
        """Return how many records the partition has had."""
        client = kafka.consumer(f"{self.group}-counter")
        try:
            return client.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)[1]
        finally:
            client.close()

    def committed(self, partition=0, topic=None):
        client = kafka.consumer(self.group)
        try:
            place = TopicPartition(topic or self.topic, partition)
            [place] = client.committed([place], timeout=10)
        finally:
            client.close()
        return place.offset

    def close(self):
        self.registry.close()
        for gone in self.admin.delete_topics(self.made).values():
            gone.result(DEADLINE_SECONDS)


class Crowd:
    """Makes consumers of a bench's group, and closes them."""

    def __init__(self, bench, **options):
        self.bench = bench
        self.options = options
        self.made = []

    def add(self, handler=light, patience=None, decoder=None, **options):
        bench, answers = self.bench, Answers()
        send = kafka.Sender(timeout=10.0).send_one
        consumer = Consumer(
            bench.group,
            Receiver(bench.group, {bench.event_class: handler}, decoder or Codec(bench.registry)),
            client=kafka.consumer(bench.group, **CLIENT_OPTIONS, on_commit=answers),
            send=send,
            patience=patience or QUICK,
            chore=lambda: dead_letters.replay_requested(bench.group, send),
            answers=answers,
            **self.options | options,
        )
        consumer.subscribe()
        self.made.append(consumer)
        return consumer

    def remove(self, consumer):
        self.made.remove(consumer)
        consumer.close()

    def close(self):
        for consumer in list(self.made):
            self.remove(consumer)


def read_until(consumer, condition):
    """Let the consumer go round until the condition holds, and return what it returned."""

    def step():
        consumer.run_once()
        return condition()

    return wait_for(step)


def _gather(client, found):
    message = client.poll(0.2)
    if message is not None and message.error() is None:
        found.append(message)
    return len(found)


def wait_for(condition, seconds=DEADLINE_SECONDS):
    """Call the condition until it holds; it is what does the work or waits."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, "It did not happen in time."
    return result


class FakeMessage:
    def __init__(
        self,
        topic="test.lamps",
        *,
        partition=0,
        offset=0,
        value=b"\x00...",
        error=None,
        key=b"lamp",
        headers=(),
    ):
        self._record = (topic, partition, offset, value)
        self._error = error
        self._key = key
        self._headers = list(headers)

    def error(self):
        return self._error

    def topic(self):
        return self._record[0]

    def partition(self):
        return self._record[1]

    def offset(self):
        return self._record[2]

    def key(self):
        return self._key

    def value(self):
        return self._record[3]

    def headers(self):
        return [("ce_id", f"{self.partition()}-{self.offset()}".encode()), *self._headers]


class FakeClient:
    """Kafka's consumer as far as the loop can see it."""

    def __init__(self, *messages):
        self.messages = deque(messages)
        self.paused = set()
        self.commits = []
        self.callbacks = {}
        self.topics = []
        self.is_closed = False
        self.commit_error = None
        self.polled_for = None

    def subscribe(self, topics, **callbacks):
        self.topics, self.callbacks = topics, callbacks

    def poll(self, timeout):
        self.polled_for = timeout
        return self.messages.popleft() if self.messages else None

    def pause(self, partitions):
        self.paused |= {(each.topic, each.partition) for each in partitions}

    def resume(self, partitions):
        self.paused -= {(each.topic, each.partition) for each in partitions}

    def commit(self, *, offsets, asynchronous):
        if self.commit_error is not None:
            raise self.commit_error
        self.commits += [(each.partition, each.offset, asynchronous) for each in offsets]

    def close(self):
        self.is_closed = True


class FakeReceiver:
    """Does with each record what a test wants: `outcomes` are returned or raised in turn."""

    topics = ("test.lamps", "test.lamps.readers.retry")

    def __init__(self, *outcomes, otherwise=None):
        self.outcomes = deque(outcomes)
        self.otherwise = otherwise
        self.received = []

    def receive_all(self, records, _also=None):
        outcomes = []
        for record in records:
            outcome = self.outcomes.popleft() if self.outcomes else self.otherwise
            if isinstance(outcome, Exception):
                if not outcomes:
                    self.received.append((record.partition, record.offset))
                    raise outcome
                self.outcomes.appendleft(outcome)
                break
            self.received.append((record.partition, record.offset))
            outcomes.append(outcome)
        return outcomes


class FakeParking:
    """Where records wait that follow one which was put off: here, in memory."""

    def __init__(self):
        self.heads = []
        self.behind = []
        self.taken = set()

    def take(self, place):
        self.taken.add(place)

    def forget(self, place):
        self.taken.discard(place)

    def is_blocked(self, record):
        return record.key in {head.key for head, _, _ in self.heads}

    def park(self, record, failure, delay):
        self.heads.append((record, failure, delay))

    def park_behind(self, records):
        self.behind += records

    def next_due(self):
        return None

    def refresh(self):
        pass

    def work(self):
        return False


class Clock:
    """Time that passes when a test says so."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now
