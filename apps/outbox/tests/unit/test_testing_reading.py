from __future__ import annotations

import copy
import io
import struct

import fastavro
import pytest

from apps.outbox.dead_letters import Record
from apps.outbox.schemas import local_schemas
from apps.outbox.testing.reading import delivery_of
from apps.outbox.tests.sending import RECORD

pytestmark = pytest.mark.usefixtures("gates")

FIELDS = {"gate_id": "north", "version": 1, "width_cm": 90, "opened_at": 1_000, "keeper": "Zoë"}
PRESENT, NEWER, OLDER = 1, 2, 3


class Versions:
    """A registry that has this version's schema, and that of the next and the one before."""

    def writer_schema(self, schema_id):
        schema = copy.deepcopy(local_schemas()[RECORD].parsed)
        if schema_id == NEWER:
            schema["fields"].append({"name": "colour", "type": "string", "default": "red"})
        if schema_id == OLDER:
            schema["fields"] = [each for each in schema["fields"] if each["name"] != "keeper"]
        return schema


def payload_of(schema_id, fields):
    body = io.BytesIO()
    fastavro.schemaless_writer(body, Versions().writer_schema(schema_id), fields)
    value = struct.pack(">BI", 0, schema_id) + body.getvalue()
    record = Record(topic="test.gates", key=b"north", value=value, headers=[])
    return delivery_of(record, Versions()).event.payload


def test_event_of_a_newer_schema_says_the_same():
    assert payload_of(NEWER, FIELDS | {"colour": "blue"}) == payload_of(PRESENT, FIELDS)


def test_event_of_an_older_schema_says_the_same_with_what_it_lacks_at_its_default():
    lacking = {name: value for name, value in FIELDS.items() if name != "keeper"}

    assert payload_of(OLDER, lacking) == payload_of(PRESENT, lacking)


def test_event_that_was_changed_says_something_else():
    assert payload_of(NEWER, FIELDS | {"width_cm": 91}) != payload_of(PRESENT, FIELDS)
