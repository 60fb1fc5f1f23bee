"""The schemas in avro/, beside the classes of the services that own them."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from apps.outbox.events import record_name
from apps.outbox.registration import subjects
from apps.outbox.registry import subject_of
from apps.outbox.testing.contracts import assert_event_matches_schema, list_incompatibilities
from tests.contract.catalogue import (
    PUBLISHED,
    SCHEMAS,
    SERVICES,
    owner_of,
    read_schema,
    released_versions,
    schema_path,
    snake,
)
from ticketing.topics import TOPICS

INSTANT = {"type": "long", "logicalType": "timestamp-millis"}

each_published = pytest.mark.parametrize("event", PUBLISHED.values(), ids=PUBLISHED.keys())
each_schema = pytest.mark.parametrize("path", SCHEMAS.values(), ids=SCHEMAS.keys())


@each_published
def test_event_has_the_fields_of_its_schema(event: type) -> None:
    assert_event_matches_schema(event)


@each_published
def test_event_bears_the_name_of_its_schema(event: type) -> None:
    schema = read_schema(schema_path(event))

    assert schema["type"] == "record"
    assert schema["name"] == event.__name__
    assert schema["namespace"] == event.namespace == f"ticketing.{owner_of(event)}"


@each_published
def test_event_type_names_service_subject_action_and_version(event: type) -> None:
    action = snake(event.__name__).removeprefix(f"{event.aggregate_type}_")

    assert event.type == f"{event.namespace}.{event.aggregate_type}.{action}.v1"
    assert re.fullmatch(r"ticketing(\.[a-z_]+){3}\.v1", event.type)


@each_published
def test_event_goes_to_a_topic_that_create_topics_makes(event: type) -> None:
    assert event.topic in {topic.name for topic in TOPICS}


@each_published
def test_schema_is_registered_for_the_topic_of_its_event(event: type) -> None:
    registered = {subject for subject, _ in subjects()}

    assert subject_of(event.topic, record_name(event)) in registered


@each_published
def test_event_is_frozen_and_made_by_keywords_alone(event: type) -> None:
    assert event.__dataclass_params__.frozen
    assert all(field.kw_only for field in fields(event))


def test_no_two_events_share_a_type() -> None:
    types = [event.type for event in PUBLISHED.values()]

    assert len(set(types)) == len(types)


def test_every_service_publishes_something() -> None:
    assert {owner_of(event) for event in PUBLISHED.values()} == set(SERVICES)


def test_every_schema_belongs_to_a_class_of_its_service() -> None:
    assert set(SCHEMAS.values()) == {schema_path(event) for event in PUBLISHED.values()}


@each_schema
def test_record_and_each_field_say_what_they_mean(path: Path) -> None:
    schema = read_schema(path)

    assert schema["doc"].strip()
    for field in schema["fields"]:
        assert field.get("doc", "").strip(), field["name"]


@each_schema
def test_money_is_whole_minor_units_beside_a_currency(path: Path) -> None:
    types = {field["name"]: field["type"] for field in read_schema(path)["fields"]}

    for name, kind in types.items():
        assert kind not in ("float", "double"), name
        if name.endswith("_cents"):
            assert kind == "long"
            assert types["currency"] == "string"


@each_schema
def test_instants_are_milliseconds_and_end_in_at(path: Path) -> None:
    for field in read_schema(path)["fields"]:
        is_instant = INSTANT in (
            field["type"] if isinstance(field["type"], list) else [field["type"]]
        )
        assert is_instant == field["name"].endswith("_at"), field["name"]


@each_schema
def test_what_may_be_null_is_null_by_default(path: Path) -> None:
    for field in read_schema(path)["fields"]:
        if isinstance(field["type"], list):
            assert field["type"][0] == "null", field["name"]
            assert field.get("default", MISSING) is None, field["name"]


@each_schema
def test_schema_and_its_released_versions_read_each_other(path: Path) -> None:
    new = read_schema(path)

    for reference, old in released_versions(path).items():
        assert list_incompatibilities(old, new) == [], reference
