"""Making the Kafka record of an outbox row: the same one by relay or by change data capture."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import NamedTuple

import orjson

from .codec import Codec
from .conf import settings
from .dead_letters import Headers, Record
from .failures import Poison

SPEC_VERSION = ("ce_specversion", b"1.0")
WITHOUT_OFFSET = len("2026-03-01T12:00:00.000")
CONTENT_TYPE = ("content-type", b"application/avro")
OWN_HEADERS = (
    *("ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time", "ce_subject", "ce_sequence"),
    "content-type",
)
NO_HEADERS = frozenset({"", "{}"})


class Row(NamedTuple):
    """A row of the outbox, wherever it was read; a tuple, since there are many each second."""

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
    slot: int = 0
    is_early: bool = False
    """Its time to be tried again is not come, by the clock of the database."""

    @property
    def place(self) -> tuple[str, str]:
        """Within what the order is kept."""
        return self.topic, self.key


def build_record(row: Row, codec: Codec, source: bytes = b"") -> Record:
    """Return the record: CloudEvents' Kafka binding in binary mode, with an Avro value.

    https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md

    Args:
        row: as it was committed.
        codec: encodes its payload.
        source: OUTBOX_SOURCE as bytes, if it is at hand: to look it up for each row costs more than
            most headers do.

    Raises:
        Poison: the row can never become a record.
        SchemaMissing: the registry does not know the schema yet.
    """
    headers: Headers = (
        SPEC_VERSION,
        ("ce_id", str(row.event_id).encode()),
        ("ce_type", row.type.encode()),
        ("ce_source", source or settings.OUTBOX_SOURCE.encode()),
        ("ce_time", rfc3339(row.occurred_at).encode()),
        ("ce_subject", row.aggregate_id.encode()),
        ("ce_sequence", str(row.version).encode()),
        CONTENT_TYPE,
    )
    if row.headers not in NO_HEADERS:
        headers = with_extra(headers, row.headers)
    return Record(
        row.topic, row.key.encode(), codec.encode(row.topic, row.record, row.payload), headers
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
    if instant.tzinfo is not UTC and instant.tzinfo is not None:
        instant = instant.astimezone(UTC)
    return f"{instant.isoformat(timespec='milliseconds')[:WITHOUT_OFFSET]}Z"


def with_extra(headers: Headers, text: str) -> Headers:
    """Add the headers that a row brings along; they replace our own of the same names.

    Raises:
        Poison: they are no JSON object of strings.
    """
    extra = extra_headers(text)
    if extra.keys().isdisjoint(OWN_HEADERS):
        return headers + tuple(extra.items())
    return tuple((dict(headers) | extra).items())


def extra_headers(text: str | bytes) -> dict[str, bytes]:
    """Return the headers that a row brings along, from their JSON.

    Raises:
        Poison: it is no object of strings.
    """
    try:
        headers = orjson.loads(text or "{}")
    except orjson.JSONDecodeError as exc:
        raise Poison("bad_headers", f"The row's headers are no JSON: {exc}") from exc
    try:
        return {name: value.encode() for name, value in headers.items()}
    except AttributeError:
        raise Poison("bad_headers", "The row's headers are no JSON object of strings.") from None
