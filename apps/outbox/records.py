"""Making the Kafka record of an outbox row: the same one by relay or by change data capture."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
from django.conf import settings

from apps.outbox.codec import Codec
from apps.outbox.dead_letters import Record
from apps.outbox.failures import Poison


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A row of the outbox, wherever it was read."""

    event_id: uuid.UUID
    topic: str
    key: str
    version: int
    type: str
    record: str
    payload: bytes
    headers: str
    occurred_at: datetime
    aggregate_id: str
    attempts: int = 0
    due_at: datetime | None = None

    @property
    def place(self) -> tuple[str, str]:
        """Within what the order is kept."""
        return self.topic, self.key


def build_record(row: Row, codec: Codec) -> Record:
    """Return the record: CloudEvents' Kafka binding in binary mode, with an Avro value.

    https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md

    Raises:
        Poison: the row can never become a record.
        SchemaMissing: the registry does not know the schema yet.
    """
    headers = {
        "ce_specversion": "1.0",
        "ce_id": str(row.event_id),
        "ce_type": row.type,
        "ce_source": f"/ticketing/{settings.SERVICE_NAME}",
        "ce_time": rfc3339(row.occurred_at),
        "ce_subject": row.aggregate_id,
        "ce_sequence": str(row.version),
        "content-type": "application/avro",
    } | _extra_headers(row.headers)
    return Record(
        topic=row.topic,
        key=row.key.encode(),
        value=codec.encode(row.topic, row.record, row.payload),
        headers=tuple((name, value.encode()) for name, value in headers.items()),
    )


def unbuildable(row: Row) -> Record:
    """Return what a dead letter keeps of a row that cannot become a record: its JSON."""
    headers = {"ce_id": str(row.event_id), "ce_type": row.type, "content-type": "application/json"}
    return Record(
        topic=row.topic,
        key=row.key.encode(),
        value=row.payload,
        headers=tuple((name, value.encode()) for name, value in headers.items()),
    )


def rfc3339(instant: datetime) -> str:
    """Write an instant as CloudEvents does, in UTC with milliseconds."""
    utc = instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
    return utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _extra_headers(text: str) -> dict[str, str]:
    try:
        headers = orjson.loads(text or "{}")
    except orjson.JSONDecodeError as exc:
        raise Poison("bad_headers", f"The row's headers are no JSON: {exc}") from exc
    if not isinstance(headers, dict) or not all(isinstance(v, str) for v in headers.values()):
        raise Poison("bad_headers", "The row's headers are no JSON object of strings.")
    return headers
