"""What the references share: the very record that a relay makes, and its producer's settings."""

from __future__ import annotations

import io
import struct
from datetime import datetime
from pathlib import Path
from typing import Any

import fastavro
import orjson
from confluent_kafka import KafkaError, Message, Producer

from bench.topic import SCHEMA

# As apps.outbox.kafka.producer_settings has them.
SETTINGS: dict[str, Any] = {
    "acks": "all",
    "enable.idempotence": True,
    "linger.ms": 5,
    "compression.type": "lz4",
    "queue.buffering.max.messages": 200_000,
}
SOURCE = b"/ticketing/bench"
Facts = tuple[str, str, datetime, str, int, str]
"""An event's id, its type, when it occurred, its subject, its version and its row's headers."""


class Refused(Exception):
    """Kafka did not take a record; a benchmark has no other answer to that."""


class Encoder:
    """Makes the value and the headers of a record.

    Args:
        schema_id: under which the registry has the schema.
    """

    def __init__(self, schema_id: int, path: Path = SCHEMA) -> None:
        self._schema = fastavro.parse_schema(orjson.loads(path.read_bytes()))
        self._prefix = struct.pack(">BI", 0, schema_id)

    def value(self, payload: bytes) -> bytes:
        body = io.BytesIO()
        body.write(self._prefix)
        fastavro.schemaless_writer(body, self._schema, orjson.loads(payload))
        return body.getvalue()

    def headers(self, facts: Facts) -> list[tuple[str, str | bytes]]:
        event_id, kind, occurred_at, subject, version, extra = facts
        return [
            ("ce_specversion", b"1.0"),
            ("ce_id", event_id),
            ("ce_type", kind),
            ("ce_source", SOURCE),
            ("ce_time", occurred_at.isoformat(timespec="milliseconds")[:23] + "Z"),
            ("ce_subject", subject),
            ("ce_sequence", str(version)),
            ("content-type", b"application/avro"),
            *orjson.loads(extra).items(),
        ]


class Counter:
    """Counts what the brokers have."""

    def __init__(self) -> None:
        self.acknowledged = 0

    def __call__(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            raise Refused(error.str())
        self.acknowledged += 1


def producer(servers: str) -> Producer:
    return Producer(SETTINGS | {"bootstrap.servers": servers})
