"""What FULL_TRANSITIVE asks of two versions of a record: each reads what the other wrote."""

from __future__ import annotations

from typing import Any

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


def list_incompatibilities(old: Schema, new: Schema) -> list[str]:
    """Return in words what stops either version from reading the other; empty when nothing does."""
    return [
        *(f"new cannot read old: {problem}" for problem in _problems(reader=new, writer=old)),
        *(f"old cannot read new: {problem}" for problem in _problems(reader=old, writer=new)),
    ]


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
    return f"{schema['namespace']}.{schema['name']}"


def _readable(*, reader: Any, writer: Any) -> bool:
    if isinstance(writer, list):
        return all(_readable(reader=reader, writer=branch) for branch in writer)
    if isinstance(reader, list):
        return any(_readable(reader=branch, writer=writer) for branch in reader)
    if _logical(reader) != _logical(writer):
        return False
    return _base(reader) == _base(writer) or (_base(writer), _base(reader)) in PROMOTIONS


def _base(kind: Any) -> Any:
    return kind["type"] if isinstance(kind, dict) else kind


def _logical(kind: Any) -> Any:
    return kind.get("logicalType") if isinstance(kind, dict) else None
