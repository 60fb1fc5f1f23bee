"""A topic of a run, and the proof that all of the run's events are on it, once and in order.

The broker notes when it took each record, so that all who send are timed by the same clock.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from bench.rows import RECORD

PARTITIONS = 3
SECONDS_FOR_KAFKA = 30
SECONDS_WITHOUT_NEWS = 5.0
AT_ONCE = 5_000
SCHEMA = Path(__file__).parent.parent / "avro" / "orders" / "order_created.avsc"
NAMES_OF_VERSION = ("ce_sequence", "version")  # a relay's, and Debezium's


class NotVerified(Exception):
    """What was measured lost, doubled or reordered something, so that its speed means nothing."""


@dataclass
class Ledger:
    """What is on a topic, against what was to be sent.

    Args:
        expected: each key with its last version; they begin with 1.
    """

    expected: Mapping[bytes, int]
    seen: int = 0
    strangers: int = 0
    doubled: int = 0
    early: int = 0
    _at: dict[bytes, int] = field(default_factory=dict)

    def add(self, key: bytes, version: int) -> bool:
        """Note a record, and say whether it belongs to the run."""
        if key not in self.expected:
            self.strangers += 1
            return False
        self.seen += 1
        at = self._at.get(key, 0)
        if version == at + 1:
            self._at[key] = version
        elif version <= at:
            self.doubled += 1
        else:
            self.early += 1
        return True

    @property
    def lost(self) -> int:
        return sum(last - self._at.get(key, 0) for key, last in self.expected.items())

    @property
    def is_complete(self) -> bool:
        return self.seen >= sum(self.expected.values())

    def prove(self) -> None:
        """Raise NotVerified unless each event is there, once, behind the one before it."""
        if self.lost or self.doubled or self.early:
            raise NotVerified(
                f"of {sum(self.expected.values())} events {self.lost} are missing or behind a "
                f"gap, {self.doubled} came again, {self.early} came before the one before them"
            )


@dataclass(frozen=True)
class Span:
    """When the broker took a run's records.

    Args:
        times: of each record, in milliseconds, sorted.
    """

    times: list[int]

    def rate(self, skipped: float = 0.0) -> float:
        """Return events a second from the first record on, or from a later share of them."""
        first = self.times[int(len(self.times) * skipped)]
        # Those that came in the first moment came before it was looked at the clock.
        later = sum(1 for time in self.times if time > first) or len(self.times)
        return later * 1000 / max(1, self.times[-1] - first)


class BenchTopic:
    """A topic made for the benchmark.

    Args:
        environment: how to reach Kafka and the registry.
    """

    def __init__(
        self, environment: Mapping[str, str], name: str = "", *, schema: bool = True
    ) -> None:
        self.name = name or f"bench.{uuid.uuid4().hex[:12]}"
        self._servers = environment["KAFKA_BOOTSTRAP_SERVERS"]
        self._admin = AdminClient({"bootstrap.servers": self._servers})
        self._consumer = self.consumer()
        self._partitions = [TopicPartition(self.name, number) for number in range(PARTITIONS)]
        self._begin = [0] * PARTITIONS
        topic = NewTopic(
            self.name, PARTITIONS, 1, config={"message.timestamp.type": "LogAppendTime"}
        )
        self._admin.create_topics([topic])[self.name].result(SECONDS_FOR_KAFKA)
        self.schema_id = self._register(environment["SCHEMA_REGISTRY_URL"]) if schema else 0
        self._wait_until_led()

    def consumer(self, **options: Any) -> Consumer:  # noqa: ANN401 (librdkafka's own types)
        return Consumer(
            {
                "bootstrap.servers": self._servers,
                "group.id": f"bench-{uuid.uuid4().hex}",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
            }
            | options
        )

    def ends(self) -> list[int]:
        return [
            self._consumer.get_watermark_offsets(each, timeout=SECONDS_FOR_KAFKA)[1]
            for each in self._partitions
        ]

    def begin(self) -> None:
        """Let the next run begin behind what is there."""
        self._begin = self.ends()

    def places(self) -> list[TopicPartition]:
        """Return where the next record of each partition will be."""
        return [
            TopicPartition(self.name, number, offset) for number, offset in enumerate(self.ends())
        ]

    def count(self) -> int:
        """Return how many records came since `begin`, whoever's."""
        return sum(self.ends()) - sum(self._begin)

    def read(self, expected: Mapping[bytes, int]) -> Span:
        """Read the run's records and prove that they are whole.

        Raises:
            NotVerified: they are not.
        """
        ledger = Ledger(expected)
        times: list[int] = []
        with closing(self.consumer()) as consumer:
            consumer.assign(
                [
                    TopicPartition(self.name, number, offset)
                    for number, offset in enumerate(self._begin)
                ]
            )
            until = time.monotonic() + SECONDS_WITHOUT_NEWS
            while time.monotonic() < until and not ledger.is_complete:
                for message in consumer.consume(AT_ONCE, 0.5):
                    until = time.monotonic() + SECONDS_WITHOUT_NEWS
                    if ledger.add(message.key() or b"", version_of(message)):
                        times.append(message.timestamp()[1])
            # Whatever came again at the very end.
            for message in consumer.consume(AT_ONCE, 0.3):
                ledger.add(message.key() or b"", version_of(message))
        ledger.prove()
        return Span(sorted(times))

    def delete(self) -> None:
        self._consumer.close()
        self._admin.delete_topics([self.name])[self.name].result(SECONDS_FOR_KAFKA)

    def _register(self, url: str) -> int:
        with SchemaRegistryClient({"url": url, "timeout": SECONDS_FOR_KAFKA}) as client:
            return client.register_schema(
                f"{self.name}-{RECORD}", Schema(SCHEMA.read_text(encoding="utf-8"), "AVRO")
            )

    def _wait_until_led(self) -> None:
        deadline = time.monotonic() + SECONDS_FOR_KAFKA
        while True:
            try:
                self.ends()
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return


def version_of(message: Message) -> int:
    """Return the version that a record carries in its headers."""
    if message.error() is not None:
        raise KafkaException(message.error())
    for name, value in message.headers() or ():
        if name in NAMES_OF_VERSION:
            return int(value)
    raise NotVerified(f"a record of {message.topic()} carries no version")
