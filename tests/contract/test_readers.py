"""Events that one service reads from another, beside what the other writes."""

from __future__ import annotations

import typing
from dataclasses import fields
from io import BytesIO

import fastavro
import pytest
from fastavro.utils import generate_many

from tests.contract.catalogue import FOREIGN, PUBLISHED, SERVICES, read_schema, schema_path
from ticketing.topics import CONSUMERS

SAMPLES = 20

OWNERS = {f"{event.namespace}.{event.__name__}": event for event in PUBLISHED.values()}

each_foreign = pytest.mark.parametrize(
    "event", [event for _, event in FOREIGN.values()], ids=FOREIGN.keys()
)


def find_owner(event: type) -> type:
    return OWNERS[f"{event.namespace}.{event.__name__}"]


@each_foreign
def test_reader_means_the_event_that_its_owner_publishes(event: type) -> None:
    owner = find_owner(event)

    for attribute in ("topic", "namespace", "type", "aggregate_type"):
        assert getattr(event, attribute) == getattr(owner, attribute)


@each_foreign
def test_reader_asks_for_nothing_that_its_owner_does_not_write(event: type) -> None:
    written = typing.get_type_hints(find_owner(event))
    wanted = typing.get_type_hints(event)

    for field in fields(event):
        assert wanted[field.name] == written[field.name], field.name


@each_foreign
def test_reader_takes_in_what_its_owner_writes(event: type) -> None:
    schema = fastavro.parse_schema(read_schema(schema_path(event)))

    for sample in generate_many(schema, SAMPLES):
        buffer = BytesIO()
        fastavro.schemaless_writer(buffer, schema, sample)
        buffer.seek(0)
        record = fastavro.schemaless_reader(buffer, schema, None)
        owned = find_owner(event)(**record)
        read = event(**{field.name: record[field.name] for field in fields(event)})

        assert read.aggregate_id == owned.aggregate_id
        assert read.version == owned.version


@pytest.mark.parametrize("service", SERVICES)
def test_consumer_group_subscribes_to_the_topics_of_what_the_service_reads(service: str) -> None:
    topics = {event.topic for reader, event in FOREIGN.values() if reader == service}

    assert topics == set(CONSUMERS.get(f"ticketing.{service}", ()))
