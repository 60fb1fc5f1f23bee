"""Rows of the outbox as Debezium's EventRouter writes them to the raw topic."""

from __future__ import annotations

import uuid
from datetime import datetime

from confluent_kafka import Message

from .failures import Poison
from .reading import read_headers
from .records import Row


def columns_of(message: Message) -> dict[str, bytes]:
    """Return the row's columns that are headers.

    Raises:
        Poison: the headers cannot be read.
    """
    try:
        return dict(read_headers(message) or ())
    except (SystemError, UnicodeDecodeError) as exc:
        raise Poison("bad_headers", f"The headers cannot be read: {exc.__cause__ or exc}") from exc


def row_of(message: Message, columns: dict[str, bytes], topics: frozenset[str]) -> Row:
    """Read a row as Debezium's EventRouter writes it: columns as headers, payload as value.

    Raises:
        Poison: something is missing or malformed, or the row goes to a topic that is not ours.
    """
    payload = message.value()
    if not payload:
        raise Poison("empty", "The raw record has no value.")
    try:
        topic = columns["topic"].decode()
        if topic not in topics:
            raise Poison("unknown_topic", f"{topic} is none of OUTBOX_TOPICS.")
        return Row(
            event_id=uuid.UUID(columns["id"].decode()),
            topic=topic,
            key=(message.key() or b"").decode(),
            version=int(columns["version"]),
            type=columns["type"].decode(),
            record=columns["record"].decode(),
            payload=payload,
            headers=columns.get("headers", b"{}").decode(),
            occurred_at=datetime.fromisoformat(columns["occurred_at"].decode()),
            aggregate_id=columns["aggregate_id"].decode(),
        )
    except KeyError as exc:
        raise Poison("bad_row", f"The raw record has no header {exc}.") from exc
    except ValueError as exc:
        raise Poison("bad_row", f"A column cannot be read: {exc}") from exc
