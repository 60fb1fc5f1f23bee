from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import ClassVar

import pytest
from confluent_kafka.schema_registry.error import SchemaRegistryError

from apps.outbox.testing.contracts import (
    assert_event_matches_schema,
    assert_reader_matches_schema,
    assert_schema_compatible_with_registry,
    assert_schemas_compatible,
)

SCHEMA = {
    "type": "record",
    "name": "GateOpened",
    "namespace": "test.gates",
    "fields": [{"name": "gate_id", "type": "string"}],
}
MORE = SCHEMA | {"fields": [*SCHEMA["fields"], {"name": "keeper", "type": "string"}]}


class Gate:
    topic: ClassVar[str] = "test.gates"
    namespace: ClassVar[str] = "test.gates"
    type: ClassVar[str] = "test.gates.gate.opened.v1"
    aggregate_type: ClassVar[str] = "gate"


def event(**annotations):
    """Return an event class GateOpened with these fields."""
    return dataclass(frozen=True, kw_only=True)(
        type("GateOpened", (Gate,), {"__annotations__": annotations})
    )


OWNERS = {
    "gate_id": str,
    "version": int,
    "width_cm": int,
    "opened_at": datetime,
    "keeper": str | None,
}


def test_a_class_with_the_fields_of_its_schema_is_its_schema(gates):
    assert_event_matches_schema(event(**OWNERS))


@pytest.mark.parametrize(
    ("annotations", "complaint"),
    [
        ({**OWNERS, "colour": str}, "the schema has no field colour"),
        ({"gate_id": str, "version": int}, "the class has no field width_cm"),
        ({**OWNERS, "width_cm": str}, "width_cm is <class 'str'>"),
        ({**OWNERS, "keeper": str}, "keeper is <class 'str'>"),
        ({**OWNERS, "opened_at": int}, "opened_at is <class 'int'>"),
    ],
    ids=["one too many", "some missing", "another type", "never null", "an instant is no number"],
)
def test_a_producer_whose_class_differs_from_its_schema_is_told_how(gates, annotations, complaint):
    with pytest.raises(AssertionError, match=complaint):
        assert_event_matches_schema(event(**annotations))


def test_a_reader_may_leave_out_what_it_does_not_need(gates):
    assert_reader_matches_schema(event(gate_id=str, keeper=str | None))


@pytest.mark.parametrize(
    ("annotations", "complaint"),
    [
        ({"gate_id": str, "colour": str}, "the owner writes no colour"),
        ({"gate_id": int}, "gate_id is <class 'int'>"),
    ],
)
def test_a_reader_who_asks_for_what_is_not_written_is_refused(gates, annotations, complaint):
    with pytest.raises(AssertionError, match=complaint):
        assert_reader_matches_schema(event(**annotations))


def test_an_event_without_a_schema_is_refused(gates):
    with pytest.raises(AssertionError, match="GateShut has no schema"):
        assert_event_matches_schema(dataclass(type("GateShut", (Gate,), {})))


@pytest.fixture
def checkout(tmp_path):
    """Return a git checkout with one committed schema."""

    def git(*arguments):
        identity = ("-c", "user.name=test", "-c", "user.email=test@example.com")
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True)

    (tmp_path / "gate_opened.avsc").write_text(json.dumps(SCHEMA))
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    return tmp_path


def test_schemas_that_have_not_changed_are_compatible_with_their_commit(checkout):
    (checkout / "new_one.avsc").write_text(json.dumps(MORE | {"name": "New"}))

    assert_schemas_compatible(checkout)


def test_a_schema_that_its_readers_cannot_read_any_more_is_refused(checkout):
    (checkout / "gate_opened.avsc").write_text(json.dumps(MORE))

    with pytest.raises(AssertionError, match=r"gate_opened\.avsc: new cannot read old: keeper"):
        assert_schemas_compatible(checkout)


def test_an_unknown_commit_is_no_proof(checkout):
    with pytest.raises(ValueError, match="v9"):
        assert_schemas_compatible(checkout, git_ref="v9")


def registry(*schemas):
    """Return a registry with these versions of any subject."""

    def get_versions(subject):
        if not schemas:
            raise SchemaRegistryError(404, 40401, f"no {subject}")
        return list(range(1, len(schemas) + 1))

    def get_version(_subject, number):
        return SimpleNamespace(schema=SimpleNamespace(schema_str=json.dumps(schemas[number - 1])))

    return SimpleNamespace(
        client=SimpleNamespace(get_versions=get_versions, get_version=get_version)
    )


def test_an_event_that_nobody_registered_yet_breaks_nothing(gates):
    assert_schema_compatible_with_registry(event(**OWNERS), registry())


def test_all_registered_versions_must_be_readable(gates):
    with pytest.raises(AssertionError, match="version 1: new cannot read old"):
        assert_schema_compatible_with_registry(event(**OWNERS), registry(SCHEMA))
