"""The schema registry: any that speaks Confluent's API. Producers look up, and never register."""

from __future__ import annotations

import json
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

import fastavro
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from .conf import settings
from .failures import Poison, Unavailable
from .schemas import LocalSchema, canonical, read_schema

TIMEOUT_SECONDS = 5


class SchemaMissing(Unavailable):
    """A schema that nobody has registered yet; its records wait until somebody does."""


def subject_of(topic: str, record: str) -> str:
    """Name the subject, by the topic and the record: a topic holds several types."""
    return f"{topic}-{record}"


class Registry:
    """A schema registry, whose answers are kept: an id never changes its meaning.

    Args:
        client: Confluent's client.
    """

    def __init__(self, client: SchemaRegistryClient) -> None:
        self.client = client
        self._ids: dict[tuple[str, str], int] = {}
        self._writers: dict[int, dict[str, Any]] = {}

    @classmethod
    def from_settings(cls) -> Self:
        return cls(
            SchemaRegistryClient(
                {
                    "url": settings.SCHEMA_REGISTRY_URL,
                    "timeout": TIMEOUT_SECONDS,
                    # Whoever waits for the registry does so in a loop that can be stopped.
                    "max.retries": 1,
                    **settings.SCHEMA_REGISTRY_SECURITY,
                }
            )
        )

    def close(self) -> None:
        self.client.close()

    def schema_id(self, topic: str, schema: LocalSchema) -> int:
        """Return the id under which the schema is registered for the topic.

        Raises:
            SchemaMissing: it is not registered.
            SchemaRegistryError: the registry cannot answer.
        """
        key = (topic, schema.name)
        if key not in self._ids:
            found = self.find(subject_of(topic, schema.name), schema)
            if found is None:
                raise SchemaMissing(
                    f"{schema.name} is not registered for {topic}. Run: manage.py register_schemas"
                )
            self._ids[key] = found
        return self._ids[key]

    def find(self, subject: str, schema: LocalSchema) -> int | None:
        """Return the id of the subject's version that means the same as the schema, or None."""
        wanted = canonical(schema.parsed)
        for schema_id, registered in self._versions(subject):
            if canonical(registered) == wanted:
                return schema_id
        return None

    def versions(self, topic: str, record: str) -> list[tuple[int, LocalSchema]]:
        """Return all schemas of a record that are registered for the topic, newest first.

        Raises:
            SchemaRegistryError: the registry cannot answer.
        """
        subject = subject_of(topic, record)
        return [
            (schema_id, read_schema(json.dumps(schema), Path(subject)))
            for schema_id, schema in self._versions(subject)
        ]

    def exists(self, subject: str) -> bool:
        """Say whether the subject has any version."""
        return bool(self._versions(subject))

    def objections(self, subject: str, schema: LocalSchema) -> tuple[str, ...]:
        """Return why the schema cannot follow the subject's versions; nothing if it can."""
        try:
            fits = self.client.test_compatibility_all_versions(subject, avro(schema))
        except SchemaRegistryError as exc:
            if exc.http_status_code != HTTPStatus.UNPROCESSABLE_ENTITY:
                raise
            return (exc.error_message,)
        return () if fits else ("It cannot be read with, or cannot read, an earlier version.",)

    def writer_schema(self, schema_id: int) -> dict[str, Any]:
        """Return the parsed record schema with this id.

        Raises:
            Poison: there is no such schema, or it is no Avro record.
            SchemaRegistryError: the registry cannot answer.
        """
        if schema_id not in self._writers:
            self._writers[schema_id] = self._fetch(schema_id)
        return self._writers[schema_id]

    def _fetch(self, schema_id: int) -> dict[str, Any]:
        try:
            schema = self.client.get_schema(schema_id)
        except SchemaRegistryError as exc:
            if exc.http_status_code != HTTPStatus.NOT_FOUND:
                raise
            raise Poison("unknown_schema", f"The registry has no schema {schema_id}.") from exc
        parsed: Any = None
        if schema.schema_type in {None, "AVRO"} and schema.schema_str:
            try:
                parsed = fastavro.parse_schema(json.loads(schema.schema_str), named_schemas={})
            except (ValueError, KeyError, fastavro.schema.SchemaParseException) as exc:
                raise Poison("unknown_schema", f"Schema {schema_id}: {exc}") from exc
        if not isinstance(parsed, dict) or parsed.get("type") != "record":
            raise Poison("unknown_schema", f"Schema {schema_id} is no Avro record.")
        return parsed

    def _versions(self, subject: str) -> list[tuple[int, Any]]:
        """Return the subject's versions, newest first: id and schema as the registry spells it."""
        try:
            numbers = self.client.get_versions(subject)
        except SchemaRegistryError as exc:
            if exc.http_status_code == HTTPStatus.NOT_FOUND:
                return []
            raise
        found = []
        for number in sorted(numbers, reverse=True):
            version = self.client.get_version(subject, number)
            if version.schema_id is not None and version.schema.schema_str:
                found.append((version.schema_id, json.loads(version.schema.schema_str)))
        return found


def avro(schema: LocalSchema) -> Schema:
    """Return what is sent to the registry."""
    return Schema(schema.text, "AVRO")
