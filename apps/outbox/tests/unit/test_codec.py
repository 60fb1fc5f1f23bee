from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import fastavro
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.outbox.codec import Codec
from apps.outbox.failures import Poison
from apps.outbox.schemas import local_schemas, read_schema
from apps.outbox.tests.sending import OPENED_AT, RECORD

pytestmark = pytest.mark.usefixtures("gates")

FIELDS = {"gate_id": "north", "version": 1, "width_cm": 90, "opened_at": 1_000, "keeper": "Zoë"}


class FakeSchemas:
    """A registry that holds the tests' one schema under the id 258, and what is registered."""

    def __init__(self):
        self.registered = {}
        self.asked = 0

    def schema_id(self, topic, schema):
        assert (topic, schema.name) == ("test.gates", RECORD)
        return 258

    def writer_schema(self, schema_id):
        if schema_id != 258:
            raise Poison("unknown_schema", "There is no such schema.")
        return local_schemas()[RECORD].parsed

    def versions(self, topic, record):
        self.asked += 1
        return [
            (number, read_schema(json.dumps(schema), Path("registry")))
            for number, schema in self.registered.items()
            if (topic, record) == ("test.gates", f"{schema['namespace']}.{schema['name']}")
        ]

    def close(self):
        self.is_closed = True


@pytest.fixture
def codec():
    return Codec(FakeSchemas())


def test_value_is_framed_as_confluents_clients_do(codec):
    value = codec.encode("test.gates", RECORD, orjson.dumps(FIELDS))

    assert value[:5] == b"\x00\x00\x00\x01\x02"
    body = fastavro.schemaless_reader(io.BytesIO(value[5:]), local_schemas()[RECORD].parsed, None)
    assert body["keeper"] == "Zoë"


def test_decoding_gives_back_what_was_encoded(codec):
    millis = int(OPENED_AT.timestamp() * 1000)
    value = codec.encode("test.gates", RECORD, orjson.dumps(FIELDS | {"opened_at": millis}))

    assert codec.decode(value) == (RECORD, FIELDS | {"opened_at": OPENED_AT})


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        orjson.dumps({}),
        orjson.dumps(FIELDS | {"more": 1}),
        orjson.dumps(FIELDS | {"width_cm": "90"}),
        orjson.dumps(FIELDS | {"width_cm": 2**40}),
    ],
)
def test_payload_that_does_not_fit_is_poison(codec, payload):
    with pytest.raises(Poison):
        codec.encode("test.gates", RECORD, payload)


def schema_of(name="GateOpened", **more):
    """Return the schema that another version has."""
    schema = json.loads(local_schemas()[RECORD].text)
    fields = [*schema["fields"], *({"name": field, **rest} for field, rest in more.items())]
    return schema | {"name": name, "fields": fields}


def test_row_of_a_newer_version_is_encoded_by_its_schema():
    schemas = FakeSchemas()
    schemas.registered = {1: schema_of(), 2: schema_of(colour={"type": "string", "default": ""})}
    codec = Codec(schemas)

    value = codec.encode("test.gates", RECORD, orjson.dumps(FIELDS | {"colour": "red"}))

    assert value[:5] == b"\x00\x00\x00\x00\x02"
    assert value.endswith(b"\x06red")


def test_row_of_an_event_that_only_a_newer_version_has_is_encoded_by_its_schema():
    schemas = FakeSchemas()
    schemas.registered = {3: schema_of("GatePainted")}
    codec = Codec(schemas)

    value = codec.encode("test.gates", "test.gates.GatePainted", orjson.dumps(FIELDS))

    assert value[:5] == b"\x00\x00\x00\x00\x03"


def test_registry_is_asked_once_for_all_rows_of_a_newer_version():
    schemas = FakeSchemas()
    schemas.registered = {2: schema_of(colour={"type": "string", "default": ""})}
    codec = Codec(schemas)

    for colour in ("red", "blue", "green"):
        codec.encode("test.gates", RECORD, orjson.dumps(FIELDS | {"colour": colour}))

    assert schemas.asked == 1


def test_row_that_fits_no_version_is_poison():
    schemas = FakeSchemas()
    schemas.registered = {2: schema_of(colour={"type": "string", "default": ""})}

    with pytest.raises(Poison, match="has no field height"):
        Codec(schemas).encode("test.gates", RECORD, orjson.dumps(FIELDS | {"height": 3}))


def test_record_without_a_schema_is_poison(codec):
    with pytest.raises(Poison, match="GatePainted"):
        codec.encode("test.gates", "test.gates.GatePainted", b"{}")


@pytest.mark.parametrize(
    "value",
    [
        b"\x00",
        b"\x00\x00\x00\x01",
        b"{}" * 9,
        b"\x01\x00\x00\x01\x02rest",
        struct.pack(">BI", 0, 7) + b"rest",
        struct.pack(">BI", 0, 258),
        struct.pack(">BI", 0, 258) + b"\x02a",
    ],
)
def test_bytes_that_are_no_such_record_are_poison(codec, value):
    with pytest.raises(Poison):
        codec.decode(value)


def test_bytes_behind_the_record_are_poison(codec):
    value = codec.encode("test.gates", RECORD, orjson.dumps(FIELDS))

    with pytest.raises(Poison, match="1 bytes follow"):
        codec.decode(value + b"\x00")


@given(body=st.binary(max_size=60))
def test_any_bytes_are_read_or_are_poison(body):
    codec = Codec(FakeSchemas())

    try:
        name, fields = codec.decode(struct.pack(">BI", 0, 258) + body)
    except Poison:
        return
    assert name == RECORD
    assert fields.keys() == FIELDS.keys()
