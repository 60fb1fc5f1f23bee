"""Schemas as contracts: what a test can hold producers and consumers to, without a registry."""

from __future__ import annotations

import dataclasses
import inspect
import json
import subprocess
import types
import typing
from collections.abc import Iterator
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from confluent_kafka.schema_registry.error import SchemaRegistryError

from ..events import Event, record_name
from ..registry import Registry, subject_of
from ..schemas import local_schemas

Schema = dict[str, Any]

# Avro's promotions that keep the meaning; string <-> bytes is legal, and refused here.
PROMOTIONS = {
    ("int", "long"),
    ("int", "float"),
    ("int", "double"),
    ("long", "float"),
    ("long", "double"),
    ("float", "double"),
}
INSTANTS = {"timestamp-millis", "timestamp-micros"}
PYTHON_TYPES: dict[str, type] = {
    "string": str,
    "int": int,
    "long": int,
    "float": float,
    "double": float,
    "boolean": bool,
    "bytes": bytes,
    "null": type(None),
    "array": list,
    "map": dict,
}


def list_incompatibilities(old: Schema, new: Schema) -> list[str]:
    """Return in words what stops either version from reading the other; empty when nothing does."""
    return [
        *(f"new cannot read old: {problem}" for problem in _problems(reader=new, writer=old)),
        *(f"old cannot read new: {problem}" for problem in _problems(reader=old, writer=new)),
    ]


def assert_schemas_compatible(directory: Path, *, git_ref: str = "HEAD") -> None:
    """Make sure that each schema and its version in git read each other, as FULL_TRANSITIVE asks.

    Raises:
        AssertionError: they do not; it says which and why.
        ValueError: there is no such reference, or the directory is not in a git checkout.
    """
    problems = []
    known = _git(directory, "rev-parse", "--verify", "--quiet", f"{git_ref}^{{commit}}")
    if not known:
        raise ValueError(f"{directory} is in no git checkout that knows {git_ref}.")
    for path in sorted(directory.glob("**/*.avsc")):
        text = _git(directory, "show", f"{git_ref}:./{path.relative_to(directory).as_posix()}")
        if text:
            new = json.loads(path.read_text(encoding="utf-8"))
            problems += [
                f"{path}: {each}" for each in list_incompatibilities(json.loads(text), new)
            ]
    _refuse(f"Not compatible with {git_ref}", problems)


def assert_schema_compatible_with_registry(event_class: type[Event], registry: Registry) -> None:
    """Make sure that the event's schema and all registered versions of it read each other.

    Raises:
        AssertionError: they do not; it says which and why.
    """
    schema = local_schemas()[record_name(event_class)]
    subject = subject_of(event_class.topic, schema.name)
    problems = []
    for number in _registered(subject, registry):
        old = json.loads(registry.client.get_version(subject, number).schema.schema_str or "{}")
        found = list_incompatibilities(old, json.loads(schema.text))
        problems += [f"{subject} version {number}: {each}" for each in found]
    _refuse("Not compatible with the registry", problems)


def assert_event_matches_schema(event_class: type[Event]) -> None:
    """Make sure that a producer's class is its schema: the same fields, of the same types.

    Raises:
        AssertionError: it says what differs.
    """
    fields = _fields(event_class)
    known = {field.name for field in dataclasses.fields(_dataclass(event_class))}
    problems = [f"the schema has no field {name}" for name in sorted(known - fields.keys())]
    problems += [f"the class has no field {name}" for name in sorted(fields.keys() - known)]
    problems += _wrong_types(event_class, fields)
    _refuse(f"{event_class.__name__} is not its schema", problems)


def assert_reader_matches_schema(event_class: type[Event]) -> None:
    """Make sure that a consumer's class asks for nothing but what the owner's schema holds.

    Raises:
        AssertionError: it says what the owner does not write, or writes as another type.
    """
    fields = _fields(event_class)
    problems = [
        f"the owner writes no {field.name}"
        for field in dataclasses.fields(_dataclass(event_class))
        if field.name not in fields
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    problems += _wrong_types(event_class, fields)
    _refuse(f"{event_class.__name__} cannot be read", problems)


def _registered(subject: str, registry: Registry) -> list[int]:
    try:
        return list(registry.client.get_versions(subject))
    except SchemaRegistryError as exc:
        if exc.http_status_code == HTTPStatus.NOT_FOUND:
            return []
        raise


def _fields(event_class: type[Event]) -> dict[str, Any]:
    name = record_name(event_class)
    schema = local_schemas().get(name)
    if schema is None:
        raise AssertionError(f"{name} has no schema in AVRO_DIR.")
    return {field["name"]: field["type"] for field in schema.parsed["fields"]}


def _wrong_types(event_class: type[Event], fields: dict[str, Any]) -> Iterator[str]:
    hints = typing.get_type_hints(event_class)
    for field in dataclasses.fields(_dataclass(event_class)):
        if field.name in fields and not _holds(hints[field.name], fields[field.name]):
            yield f"{field.name} is {hints[field.name]}, and {fields[field.name]} in the schema"


def _holds(hint: Any, kind: Any) -> bool:  # noqa: ANN401 (any annotation, any Avro type)
    """Say whether a field so annotated takes all that the schema allows."""
    if hint in {Any, object}:
        return True
    if isinstance(kind, list):
        return all(_holds(hint, branch) for branch in kind)
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return any(_holds(branch, kind) for branch in typing.get_args(hint))
    wanted: Any = typing.get_origin(hint) or hint
    return inspect.isclass(wanted) and issubclass(_python_type(kind), wanted)


def _python_type(kind: Any) -> type:  # noqa: ANN401
    if isinstance(kind, dict):
        if kind.get("logicalType") in INSTANTS:
            return datetime
        return {"enum": str, "fixed": bytes, "record": dict}.get(kind["type"]) or _python_type(
            kind["type"]
        )
    return PYTHON_TYPES.get(kind, object)


def _dataclass(event_class: type[Event]) -> Any:  # noqa: ANN401 (a dataclass, which has no type)
    return event_class


def _refuse(what: str, problems: list[str]) -> None:
    if problems:
        raise AssertionError("\n  ".join([f"{what}:", *problems]))


def _git(directory: Path, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603
        ["git", *arguments],  # noqa: S607
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode else done.stdout


def _problems(*, reader: Schema, writer: Schema) -> list[str]:
    problems = []
    if _full_name(reader) != _full_name(writer):
        problems.append(f"the record is {_full_name(writer)}, not {_full_name(reader)}")
    written = {field["name"]: field for field in writer["fields"]}
    for field in reader["fields"]:
        name = field["name"]
        if name not in written:
            if "default" not in field:
                problems.append(f"{name} is missing and has no default")
        elif not _readable(reader=field["type"], writer=written[name]["type"]):
            problems.append(f"{name} is {written[name]['type']}, not {field['type']}")
    return problems


def _full_name(schema: Schema) -> str:
    name, namespace = schema["name"], schema.get("namespace", "")
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _readable(*, reader: Any, writer: Any) -> bool:  # noqa: ANN401
    if isinstance(writer, list):
        return all(_readable(reader=reader, writer=branch) for branch in writer)
    if isinstance(reader, list):
        return any(_readable(reader=branch, writer=writer) for branch in reader)
    if _logical(reader) != _logical(writer):
        return False
    if _base(reader) != _base(writer):
        return (_base(writer), _base(reader)) in PROMOTIONS
    return not isinstance(reader, dict) or _parts_readable(reader, writer)


def _parts_readable(reader: Schema, writer: Schema) -> bool:
    """Compare what is inside of two types of the same kind."""
    for inner in ("items", "values"):
        if inner in reader:
            return _readable(reader=reader[inner], writer=writer[inner])
    if "fields" in reader:
        return not _problems(reader=reader, writer=writer)
    if "symbols" in reader:
        return "default" in reader or set(writer["symbols"]) <= set(reader["symbols"])
    return bool(reader.get("size") == writer.get("size"))


def _base(kind: Any) -> Any:  # noqa: ANN401
    return kind["type"] if isinstance(kind, dict) else kind


def _logical(kind: Any) -> Any:  # noqa: ANN401
    return kind.get("logicalType") if isinstance(kind, dict) else None
