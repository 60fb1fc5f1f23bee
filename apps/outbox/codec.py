"""Kafka records' values: Avro in Confluent's wire format.

A zero byte, the schema's id as four bytes with the highest first, and the bare Avro record:
https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

import fastavro
import orjson

from .failures import Poison
from .schemas import DoesNotFit, LocalSchema, local_schemas

MAGIC = 0
PREFIX = struct.Struct(">BI")


class Schemas(Protocol):
    """What is asked of the schema registry; what it says of one id is cached."""

    def schema_id(self, topic: str, schema: LocalSchema, /) -> int:
        """Return the id under which the schema is registered for the topic."""
        ...

    def writer_schema(self, schema_id: int, /) -> dict[str, Any]:
        """Return the parsed record schema with this id."""
        ...

    def versions(self, topic: str, record: str, /) -> Sequence[tuple[int, LocalSchema]]:
        """Return all schemas of a record that are registered for the topic, with their ids."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class Codec:
    """Writes and reads records' values.

    Args:
        schemas: the schema registry.
    """

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        # By topic and record: the local schema and what each value begins with. Neither changes
        # while a process lives.
        self._known: dict[tuple[str, str], tuple[LocalSchema, bytes]] = {}
        self._registered: dict[tuple[str, str], Sequence[tuple[int, LocalSchema]]] = {}

    def encode(self, topic: str, record: str, payload: bytes) -> bytes:
        """Return the value of a record of the topic.

        A row that another version has written, which does not fit this version's schema, becomes a
        record of the schema that it fits: while both versions run, or after one was taken back,
        this one may have to send what the other left.

        Args:
            topic: where it will be sent.
            record: the full name of its Avro record.
            payload: its fields as a JSON object, as `publish` writes them.

        Raises:
            Poison: the payload can never be encoded.
            SchemaMissing: the registry does not know the schema yet.
        """
        schema, prefix = self._known.get((topic, record)) or (None, b"")
        if schema is None:
            schema = local_schemas().get(record)
        try:
            fields = orjson.loads(payload)
        except orjson.JSONDecodeError as exc:
            raise Poison("not_json", f"The payload is no JSON: {exc}") from exc
        if not isinstance(fields, dict):
            raise Poison("wrong_schema", "The payload is JSON, but no object.")
        if schema is None:
            reason = Poison("unknown_schema", f"There is no schema of {record}.")
            return self._encode_as_registered(topic, record, fields, reason)
        try:
            body = schema.encode(fields)
        except DoesNotFit as exc:
            reason = Poison("wrong_schema", str(exc))
            return self._encode_as_registered(topic, record, fields, reason)
        if not prefix:
            prefix = PREFIX.pack(MAGIC, self._schemas.schema_id(topic, schema))
            self._known[topic, record] = schema, prefix
        return prefix + body

    def _encode_as_registered(
        self, topic: str, record: str, fields: dict[str, Any], reason: Poison
    ) -> bytes:
        """Encode by the schema of another version; raise the reason if none that there is fits."""
        known = self._registered.get((topic, record), ())
        value = _encode_by_any(known, fields)
        if value is None:
            known = self._registered[topic, record] = self._schemas.versions(topic, record)
            value = _encode_by_any(known, fields)
        if value is None:
            raise reason
        return value

    def decode(self, value: bytes) -> tuple[str, dict[str, Any]]:
        """Return the full name of the Avro record, and its fields, as they were written.

        Raises:
            Poison: the bytes can never be read.
        """
        return decode_record(value, self._schemas)

    def close(self) -> None:
        """Let go of the registry."""
        self._schemas.close()


def _encode_by_any(
    schemas: Sequence[tuple[int, LocalSchema]], fields: Mapping[str, Any]
) -> bytes | None:
    for schema_id, schema in schemas:
        with suppress(DoesNotFit):
            return PREFIX.pack(MAGIC, schema_id) + schema.encode(fields)
    return None


def decode_record(
    value: bytes, schemas: Schemas, readers: Mapping[str, LocalSchema] | None = None
) -> tuple[str, dict[str, Any]]:
    """Return the full name of the Avro record in `value`, and its fields, as they were written.

    Args:
        value: a schema's id and the record.
        schemas: where the schema is found.
        readers: by which schema a record of this name is read instead: fields that its writer
            did not have are at their defaults then, and those that only its writer had are left
            out.

    Raises:
        Poison: the bytes can never be read.
    """
    if len(value) < PREFIX.size or value[0] != MAGIC:
        raise Poison("not_avro", "The value does not begin with a zero byte and a schema's id.")
    _, schema_id = PREFIX.unpack_from(value)
    schema = schemas.writer_schema(schema_id)
    body = io.BytesIO(value)
    body.seek(PREFIX.size)
    try:
        reader = readers.get(schema["name"]) if readers else None
        fields: Any = fastavro.schemaless_reader(body, schema, reader.parsed if reader else None)
    except Exception as exc:
        raise Poison("not_avro", f"The value is no {schema['name']}: {exc!r}") from exc
    if body.tell() != len(value):
        raise Poison("not_avro", f"{len(value) - body.tell()} bytes follow the {schema['name']}.")
    return schema["name"], fields
