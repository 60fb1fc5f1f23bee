"""Rows of the outbox as Debezium's EventRouter writes them to the raw topic."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from confluent_kafka import Message

from .codec import Codec
from .dead_letters import Headers, Record
from .failures import Poison
from .reading import read_headers
from .records import CONTENT_TYPE, NO_HEADERS, SPEC_VERSION, rfc3339, with_extra

UUID = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NUMBER = re.compile(rb"[1-9][0-9]{0,18}")
MILLISECONDS = 3


def columns_of(message: Message) -> dict[str, bytes]:
    """Return the row's columns that are headers.

    Raises:
        Poison: the headers cannot be read.
    """
    try:
        return dict(read_headers(message) or ())
    except (SystemError, UnicodeDecodeError) as exc:
        raise Poison("bad_headers", f"The headers cannot be read: {exc.__cause__ or exc}") from exc


def record_of(
    message: Message,
    columns: dict[str, bytes],
    topics: Mapping[bytes, str],
    source: bytes,
    codec: Codec,
) -> Record:
    """Return the very record that `build_record` makes of the row.

    The columns are text already, as the record's headers are: to read a row out of them first
    would cost as much again as all the rest.

    Args:
        message: the raw record; its value is the payload.
        columns: its headers.
        topics: where rows may go, by their names' bytes.
        source: who publishes, for CloudEvents.
        codec: encodes the payload.

    Raises:
        Poison: something is missing or malformed, or the row goes to a topic that is not ours.
        SchemaMissing: the registry does not know the schema yet.
    """
    payload, key = message.value(), message.key() or b""
    if not payload:
        raise Poison("empty", "The raw record has no value.")
    try:
        event_id, version = columns["id"], columns["version"]
        topic = topics.get(columns["topic"])
        if topic is None:
            name = columns["topic"].decode(errors="replace")
            raise Poison("unknown_topic", f"{name} is none of OUTBOX_TOPICS.")
        if not UUID.fullmatch(event_id) or not NUMBER.fullmatch(version):
            raise Poison("bad_row", "A column cannot be read: id is no UUID or version no number.")
        key.decode()
        headers: Headers = (
            SPEC_VERSION,
            ("ce_id", event_id),
            ("ce_type", _text(columns["type"])),
            ("ce_source", source),
            ("ce_time", _time(columns["occurred_at"].decode())),
            ("ce_subject", _text(columns["aggregate_id"])),
            ("ce_sequence", version),
            CONTENT_TYPE,
        )
        record = columns["record"].decode()
        brought = columns.get("headers", b"{}").decode()
    except KeyError as exc:
        raise Poison("bad_row", f"The raw record has no header {exc}.") from exc
    except ValueError as exc:
        raise Poison("bad_row", f"A column cannot be read: {exc}") from exc
    if brought not in NO_HEADERS:
        headers = with_extra(headers, brought)
    value = codec.encode(topic, record, payload)
    return Record(topic=topic, key=key, value=value, headers=headers)


def _text(column: bytes) -> bytes:
    """Return the column, which is text: what is not says so by a ValueError."""
    if not column.decode():
        raise ValueError("It is empty.")
    return column


def _time(text: str) -> bytes:
    """Cut an instant to milliseconds, as a relay does."""
    instant = datetime.fromisoformat(text)
    if not text.endswith("Z"):
        return rfc3339(instant).encode()
    seconds, _, fraction = text[:-1].partition(".")
    return f"{seconds}.{fraction[:MILLISECONDS]:0<3}Z".encode()
