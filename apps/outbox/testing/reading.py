"""Filling a history (history.py) from real topics and from the service's store."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import fields as fields_of
from io import BytesIO
from typing import Any

import fastavro
import orjson

from ..codec import Codec, Schemas, decode_record
from ..dead_letters import Headers, Record
from ..events import Event as Publishable
from ..events import record_name
from ..failures import Poison
from ..models import DeadLetter, OutboxEvent, ParkedRecord, ReceivedEvent
from ..publish import plain
from ..receiver import event_id
from ..records import Row as OutboxRow
from ..records import build_record
from ..rereading import read_records
from ..schemas import local_schemas
from .history import Delivery, Event, Letter, Reading, Row

CHUNK = 1000


def note(event: Publishable, published_id: uuid.UUID) -> Event:
    """Note an event as its publisher knows it, for the history's transactions."""
    name = record_name(event)
    schema = local_schemas()[name]
    body = schema.encode({each.name: plain(getattr(event, each.name)) for each in fields_of(event)})
    return Event(
        id=str(published_id),
        topic=event.topic,
        key=event.aggregate_id,
        version=event.version,
        type=event.type,
        payload=_digest(
            [name, fastavro.schemaless_reader(BytesIO(body), schema.parsed, None)],
        ),
    )


def read_topic(topic: str, schemas: Schemas | None = None) -> Iterator[Delivery]:
    """Yield the topic's records as far as they are committed now, each partition in order.

    Args:
        topic: it must exist.
        schemas: the registry, to compare the values by; without it they are left out.

    Raises:
        Unavailable: Kafka says nothing for half a minute.
    """
    for record in read_records(topic):
        yield delivery_of(record, schemas)


def read_topics(topics: Iterable[str], schemas: Schemas | None = None) -> Iterator[Delivery]:
    """Yield the records of one topic after the other."""
    for topic in topics:
        yield from read_topic(topic, schemas)


def delivery_of(record: Record, schemas: Schemas | None = None) -> Delivery:
    """Note a record of a topic."""
    return Delivery(
        event=Event(
            id=event_id(record),
            topic=record.topic,
            key=(record.key or b"").decode("utf-8", "replace"),
            version=int(record.header("ce_sequence") or 0),
            type=record.header("ce_type") or "",
            payload=_digest_of_value(record.value, schemas),
            headers=_digest_of_headers(record.headers),
        ),
        partition=record.partition or 0,
        offset=record.offset or 0,
    )


def read_rows(topics: Collection[str], schemas: Schemas) -> Iterator[Row]:
    """Yield the outbox's rows of these topics, with the record that each must become."""
    codec = Codec(schemas)
    found = OutboxEvent.objects.filter(topic__in=topics).order_by("pk")
    for model in found.iterator(chunk_size=CHUNK):
        payload = headers = ""
        try:
            record = build_record(_row(model), codec)
        except Poison:
            pass  # it has no record, but a dead letter
        else:
            payload = _digest_of_value(record.value, schemas)
            headers = _digest_of_headers(record.headers)
        yield Row(
            event=Event(
                id=str(model.pk),
                topic=model.topic,
                key=model.key,
                version=model.version,
                type=model.type,
                payload=payload,
                headers=headers,
            ),
            state=model.state,
        )


def read_letters(topics: Collection[str]) -> Iterator[Letter]:
    """Yield the dead letters of these topics, of the relay and of this store's groups."""
    found = DeadLetter.objects.filter(topic__in=topics).order_by("pk")
    columns = ("event_id", "topic", "state", "group")
    for values in found.values(*columns).iterator(chunk_size=CHUNK):
        yield Letter(**values)


def read_group(
    group: str,
    topics: Collection[str],
    *,
    types: Collection[str] = (),
    effects: Mapping[str, int] | None = None,
) -> Reading:
    """Return what the group has received, by its inbox, and what it has parked."""
    inbox = ReceivedEvent.objects.filter(pk__startswith=f"{group}/").values_list("pk", "topic")
    parked = ParkedRecord.objects.filter(group=group, topic__in=topics)
    return Reading(
        group=group,
        topics=frozenset(topics),
        types=frozenset(types),
        received=tuple(
            inbox_id.removeprefix(f"{group}/")
            for inbox_id, topic in inbox.iterator(chunk_size=CHUNK)
            if topic.partition(f".{group}.")[0] in topics  # also by way of a retry topic
        ),
        waiting=frozenset(parked.values_list("event_id", flat=True)),
        effects=effects,
    )


def _row(model: OutboxEvent) -> OutboxRow:
    return OutboxRow(
        event_id=model.pk,
        topic=model.topic,
        key=model.key,
        version=model.version,
        type=model.type,
        record=model.record,
        payload=bytes(model.payload),
        headers=model.headers,
        occurred_at=model.occurred_at,
        aggregate_id=model.aggregate_id,
    )


def _digest_of_value(value: bytes | None, schemas: Schemas | None) -> str:
    """Digest what the value says to this version, whichever wrote it; bytes if it is no event."""
    if schemas is None or value is None:
        return ""
    try:
        return _digest(decode_record(value, schemas, local_schemas()))
    except Poison:
        return _digest(value.hex())


def _digest_of_headers(headers: Headers) -> str:
    return _digest(sorted((name, (value or b"").hex()) for name, value in headers))


def _digest(data: Any) -> str:  # noqa: ANN401 (any fields of any event)
    text = orjson.dumps(data, default=repr, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(text, digest_size=12).hexdigest()
