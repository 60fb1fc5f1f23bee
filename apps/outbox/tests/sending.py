"""What the tests of sending share: an event, and topics of a test's own on the real servers."""

from __future__ import annotations

import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from confluent_kafka import OFFSET_BEGINNING, KafkaError, TopicPartition
from confluent_kafka.admin import NewTopic
from django.db import connections

from apps.outbox import kafka
from apps.outbox.codec import Codec
from apps.outbox.kafka import Sender
from apps.outbox.models import OutboxEvent
from apps.outbox.publish import publish
from apps.outbox.registry import Registry, avro, subject_of
from apps.outbox.relay import Relay
from apps.outbox.schemas import local_schemas
from apps.outbox.stores import open_store
from apps.outbox.topics import Topic, dead_letter_topic
from apps.outbox.transactions import run_in_transaction

AVRO_DIR = Path(__file__).parent / "avro"
DEADLINE_SECONDS = 90
RECORD = "test.gates.GateOpened"
OPENED_AT = datetime(2026, 3, 1, 12, 30, 0, 250_000, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class GateState:
    topic: ClassVar[str] = "test.gates"
    namespace: ClassVar[str] = "test.gates"
    type: ClassVar[str] = "test.gates.gate.opened.v1"
    aggregate_type: ClassVar[str] = "gate"

    gate_id: str
    version: int = 1
    width_cm: object = 90
    opened_at: object = OPENED_AT
    keeper: str | None = None

    @property
    def aggregate_id(self):
        return self.gate_id


def event_class(topic="test.gates"):
    """Return the event class GateOpened of a topic of its own."""
    return type("GateOpened", (GateState,), {"topic": topic})


def publish_all(*events):
    return run_in_transaction(lambda: [publish(event) for event in events])


def in_threads(*bodies):
    """Run the bodies at the same time, and raise what the first failing one raised."""
    failures = []

    def run(body):
        try:
            body()
        except BaseException as exc:  # noqa: BLE001 - raised again below
            failures.append(exc)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
    assert not any(thread.is_alive() for thread in threads)
    if failures:
        raise failures[0]


def wait_for(condition, seconds=DEADLINE_SECONDS):
    """Call the condition until it holds; it is what does the work or waits."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, "It did not happen in time."
    return result


def spoil(event_id, payload):
    """Give a row a payload that publish would have refused."""
    assert OutboxEvent.objects.filter(pk=event_id).update(payload=payload) == 1


class Bench:
    """A topic of one test's own on the real Kafka, its schema in the real registry, and relays."""

    def __init__(self, settings, *, partitions=3, register=True):
        self.topic = f"test.gates-{uuid.uuid4().hex[:12]}"
        self.partitions = partitions
        self.dlq = dead_letter_topic(self.topic)
        self.event_class = event_class(self.topic)
        self.registry = Registry.from_settings()
        self.codec = Codec(self.registry)
        self.admin = kafka.admin()
        self._names = []
        self._relays = []
        settings.AVRO_DIR = AVRO_DIR
        settings.OUTBOX_TRANSPORT = "relay"
        settings.OUTBOX_TOPICS = (Topic(self.topic, partitions, "", namespace="test.gates"),)
        self.create(self.topic, partitions)
        self.create(self.dlq)
        if register:
            self.register()

    def create(self, name, partitions=1, **config):
        self.admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(
            DEADLINE_SECONDS
        )
        self._names.append(name)

    def register(self, topic=None):
        schema = local_schemas()[RECORD]
        subject = subject_of(topic or self.topic, schema.name)
        return self.registry.client.register_schema(subject, avro(schema))

    def opened(self, gate_id, version=1, **fields):
        return self.event_class(gate_id=gate_id, version=version, **fields)

    def publish_run(self, gate_id, versions):
        return publish_all(*[self.opened(gate_id, version) for version in versions])

    def relay(self, *, sender=None, **options):
        relay = Relay(
            open_store(),
            Codec(Registry.from_settings()),
            sender or Sender(timeout=15.0),
            **{"owner": uuid.uuid4().hex, "lease_seconds": 5.0} | options,
        )
        self._relays.append(relay)
        return relay

    def sent(self):
        """Count the topic's records, by its offsets."""
        client = kafka.consumer("test-counter")
        try:
            return sum(
                client.get_watermark_offsets(TopicPartition(self.topic, number), timeout=10)[1]
                for number in range(self.partitions)
            )
        finally:
            client.close()

    def records(self, topic=None, count=1):
        """Return all records of the topic, once there are `count`."""
        topic = topic or self.topic
        client = kafka.consumer(f"test-{uuid.uuid4().hex}", **{"enable.partition.eof": True})
        found = []
        ended = set()

        def whole():
            # A poll that comes back with nothing may just have been slow: only the end is the end.
            message = client.poll(0.2)
            if message is not None and message.error() is None:
                found.append(message)
                ended.discard(message.partition())
            elif message is not None and message.error().code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
            return len(found) >= count and ended == {*partitions}

        try:
            partitions = client.list_topics(topic, DEADLINE_SECONDS).topics[topic].partitions
            client.assign(
                [TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions]
            )
            wait_for(whole)
        finally:
            client.close()
        return found

    def close(self):
        for relay in self._relays:
            relay.close()
        self.registry.client.close()
        with suppress(Exception):
            for gone in self.admin.delete_topics(self._names).values():
                gone.result(DEADLINE_SECONDS)


def versions_of(records):
    """Return each key's versions in the order of the topic."""
    versions = {}
    for record in records:
        sequence = dict(record.headers())["ce_sequence"]
        versions.setdefault(record.key().decode(), []).append(int(sequence))
    return versions


def first_deliveries(versions):
    """Leave out repetitions: those of versions that were there before."""
    first = []
    for version in versions:
        if version not in first:
            first.append(version)
    return first


def drain(relay):
    while relay.run_once():
        pass
