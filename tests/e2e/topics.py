"""What can be seen on the topics by a consumer that knows nothing of this project."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx
from confluent_kafka import OFFSET_END, Consumer, Message, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext

from tests.e2e.stack import PATIENCE_SECONDS, Stack

TOPICS = (
    "ticketing.users",
    "ticketing.tickets",
    "ticketing.orders",
    "ticketing.payments",
    "ticketing.expiration",
)
METADATA_SECONDS = 10.0
REGISTRY_SECONDS = 10.0


@dataclass(frozen=True)
class Seen:
    """One record as it lay on its topic."""

    topic: str
    key: str
    fields: dict[str, Any]
    headers: dict[str, str]

    @property
    def type(self) -> str:
        return self.headers["ce_type"]


class Watcher:
    """Reads the topics from where they end now, with Confluent's own deserializer."""

    def __init__(self, stack: Stack) -> None:
        self.seen: list[Seen] = []
        self.unread: deque[Message] = deque()
        self.consumer = Consumer(
            {
                "bootstrap.servers": stack.kafka,
                "group.id": "ticketing.e2e.watcher",
                "enable.auto.commit": False,
            }
        )
        # Without a timeout the client waits for ever for an answer that a registry has lost.
        self.schemas = SchemaRegistryClient({"url": stack.registry, "timeout": REGISTRY_SECONDS})
        self.deserialize = AvroDeserializer(self.schemas)
        partitions = [
            TopicPartition(topic, number)
            for topic in TOPICS
            for number in self.consumer.list_topics(topic, timeout=METADATA_SECONDS)
            .topics[topic]
            .partitions
        ]
        # "The end" is settled here and now, not whenever the consumer first asks for it.
        for partition in partitions:
            _, end = self.consumer.get_watermark_offsets(partition, timeout=METADATA_SECONDS)
            partition.offset = end if end >= 0 else OFFSET_END
        self.consumer.assign(partitions)

    def read(self, seconds: float) -> None:
        message = self.consumer.poll(seconds)
        if message is not None and not message.error():
            self.unread.append(message)
        # While the registry is away, records wait here for another look.
        with suppress(httpx.HTTPError, SchemaRegistryError):
            while self.unread:
                self.seen.append(self.decode(self.unread[0]))
                self.unread.popleft()

    def decode(self, message: Message) -> Seen:
        context = SerializationContext(message.topic(), MessageField.VALUE)
        return Seen(
            topic=message.topic(),
            key=message.key().decode(),
            fields=self.deserialize(message.value(), context),
            headers={name: value.decode() for name, value in message.headers()},
        )

    def wait_for(self, key: str, event_type: str, *, within: float = PATIENCE_SECONDS) -> Seen:
        """Return the first record of the type with the key; `seen` keeps all that passes."""
        deadline = time.monotonic() + within
        looked_at = 0
        while True:
            for record in self.seen[looked_at:]:
                if (record.key, record.type) == (key, event_type):
                    return record
            looked_at = len(self.seen)
            assert time.monotonic() < deadline, f"no {event_type} of {key} within {within} s"
            self.read(0.5)


@contextmanager
def watching(stack: Stack) -> Iterator[Watcher]:
    watcher = Watcher(stack)
    try:
        yield watcher
    finally:
        watcher.consumer.close()
        watcher.schemas.close()
