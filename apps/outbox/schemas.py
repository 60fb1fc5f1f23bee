"""The Avro schemas of this checkout: what its services may publish."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastavro
from fastavro.validation import ValidationError, ValidationErrorData, validate

from .conf import settings

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
PLAIN_TYPES: Mapping[str, type] = {
    "null": type(None),
    "boolean": bool,
    "int": int,
    "long": int,
    "string": str,
}
LEAST_INT = -(2**31)
MOST_SHAPES = 1_000
PLAIN_LOGICAL_TYPES = frozenset({"timestamp-millis", "timestamp-micros"})


class DoesNotFit(Exception):
    """Fields that are not a record of the schema."""


@dataclass(frozen=True, kw_only=True)
class LocalSchema:
    """One .avsc file, which holds one record.

    Args:
        name: the record's full name.
        text: what is registered.
        parsed: what fastavro reads and writes by.
    """

    name: str
    path: Path
    text: str
    parsed: dict[str, Any]
    plain_types: Mapping[str, frozenset[type]]
    """For fields of primitive types: the types of JSON's values that fit them as they are."""

    known_shapes: set[tuple[Any, ...]] = field(default_factory=set)
    """Names and types of fields that were found to fit, to be recognised at one look."""

    def encode(self, fields: Mapping[str, Any]) -> bytes:
        """Return the record as bare Avro.

        A field that has a default may be missing: the row may have been written before the schema
        had that field, and waits across the upgrade.

        Raises:
            DoesNotFit: a field is missing, is unknown or has the wrong type.
        """
        fits = self._fits_plainly(fields)
        if not fits:
            fields = {**self.defaults, **fields}
        if not fits and (unknown := fields.keys() - self.names):
            raise DoesNotFit(f"{self.name} has no field {', '.join(sorted(unknown))}.")
        body = io.BytesIO()
        try:
            # The writer alone would take 1.0 or true for a number. Looking at types is exact where
            # they say all, and costs a twentieth of what the validator does (20 us an event).
            if not fits:
                validate(fields, self.parsed, strict=True)
            fastavro.schemaless_writer(body, self.parsed, fields, strict=not fits)
        except ValidationError as exc:
            raise DoesNotFit(_reasons(exc)) from exc
        except (TypeError, ValueError, OverflowError, KeyError, AttributeError) as exc:
            raise DoesNotFit(f"{self.name}: {exc}") from exc
        return body.getvalue()

    @functools.cached_property
    def defaults(self) -> Mapping[str, Any]:
        """The defaults of those fields that have one."""
        return {
            each["name"]: each["default"] for each in self.parsed["fields"] if "default" in each
        }

    @functools.cached_property
    def names(self) -> frozenset[str]:
        """The names of the record's fields."""
        return frozenset(each["name"] for each in self.parsed["fields"])

    @functools.cached_property
    def narrow(self) -> tuple[str, ...]:
        """The names of the fields that hold 32 bits, which no type of Python says."""
        return tuple(each["name"] for each in self.parsed["fields"] if "int" in _branches(each))

    def _fits_plainly(self, fields: Mapping[str, Any]) -> bool:
        shape = (*fields, *map(type, fields.values()))
        if shape not in self.known_shapes:
            plain = self.plain_types
            if not plain.keys() == self.names == fields.keys() or not all(
                type(value) in plain[name] for name, value in fields.items()
            ):
                return False
            if len(self.known_shapes) < MOST_SHAPES:
                self.known_shapes.add(shape)
        for name in self.narrow:
            value = fields[name]
            if value is not None and not LEAST_INT <= value <= -LEAST_INT - 1:
                return False
        return True


def local_schemas() -> Mapping[str, LocalSchema]:
    """Return the schemas of settings.AVRO_DIR by the full names of their records."""
    # A path is hashed by its parts, which costs more than all of an event's own encoding.
    return _load(str(settings.AVRO_DIR))


@functools.cache
def _load(directory: str) -> Mapping[str, LocalSchema]:
    schemas: dict[str, LocalSchema] = {}
    for path in sorted(Path(directory).glob("**/*.avsc")):
        text = path.read_text(encoding="utf-8")
        schema = read_schema(text, path)
        if schema.name in schemas:
            raise ValueError(f"{path} and {schemas[schema.name].path} both hold {schema.name}.")
        schemas[schema.name] = schema
    return schemas


def read_schema(text: str, path: Path) -> LocalSchema:
    """Return the schema that a text holds.

    Args:
        text: Avro's JSON.
        path: where it comes from.

    Raises:
        ValueError: it is no schema of a record.
    """
    try:
        parsed = fastavro.parse_schema(json.loads(text), named_schemas={})
    except fastavro.schema.SchemaParseException as exc:
        raise ValueError(f"{path}: {exc}") from exc
    if not isinstance(parsed, dict) or parsed["type"] != "record":
        raise ValueError(f"{path} must hold one record.")
    return LocalSchema(
        name=parsed["name"], path=path, text=text, parsed=parsed, plain_types=_plain_types(parsed)
    )


def _plain_types(parsed: Mapping[str, Any]) -> Mapping[str, frozenset[type]]:
    """Return the fitting types of those fields for which a value's type says whether it fits."""
    fitting: dict[str, frozenset[type]] = {}
    for declared in parsed["fields"]:
        branches = _branches(declared)
        # An int's range is looked at as well, which needs to be the only number of its union.
        is_simple = "int" not in branches or branches <= {"int", "null"}
        if branches <= PLAIN_TYPES.keys() and is_simple:
            fitting[declared["name"]] = frozenset(PLAIN_TYPES[branch] for branch in branches)
    return fitting


def _branches(field: Mapping[str, Any]) -> frozenset[str]:
    """Return the types that a field may have; "" stands for those that are no bare primitives."""
    kind = field["type"]
    found = set()
    for branch in kind if isinstance(kind, list) else [kind]:
        bare = branch
        if isinstance(branch, dict) and branch.get("logicalType") in {None, *PLAIN_LOGICAL_TYPES}:
            bare = branch["type"]
        found.add(bare if isinstance(bare, str) and bare in PLAIN_TYPES else "")
    return frozenset(found)


def canonical(schema: Any, namespace: str = "") -> Any:  # noqa: ANN401 (a schema is any JSON)
    """Reduce a schema to what readers and writers go by, to compare it with a reformatted copy.

    Unlike Avro's parsing canonical form it keeps defaults, aliases and logical types, which
    decide what is compatible; documentation and the spelling of names are dropped.
    """
    match schema:
        case str():
            return schema if schema in PRIMITIVES else _full_name(schema, namespace)
        case list():
            return [canonical(branch, namespace) for branch in schema]
    kind = schema["type"]
    if kind in {"record", "enum", "fixed"}:
        name = _full_name(schema["name"], schema.get("namespace", namespace))
        reduced = {key: value for key, value in schema.items() if not _is_commentary(key)}
        reduced["name"] = name
        if kind == "record":
            home = name.rpartition(".")[0]
            reduced["fields"] = [_canonical_field(field, home) for field in schema["fields"]]
        return reduced
    reduced = {key: value for key, value in schema.items() if not _is_commentary(key)}
    for inner in ("items", "values"):
        if inner in reduced:
            reduced[inner] = canonical(reduced[inner], namespace)
    reduced["type"] = canonical(kind, namespace)
    return reduced["type"] if reduced.keys() == {"type"} else reduced


def _canonical_field(field: dict[str, Any], namespace: str) -> dict[str, Any]:
    kept = {key: value for key, value in field.items() if not _is_commentary(key)}
    if kept.get("order") == "ascending":
        del kept["order"]
    return kept | {"type": canonical(field["type"], namespace)}


def _is_commentary(key: str) -> bool:
    """Say whether readers ignore the key; fastavro adds the ones with underscores."""
    return key in {"doc", "namespace"} or key.startswith("__")


def _full_name(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _reasons(exc: ValidationError) -> str:
    return "; ".join(
        str(error) if isinstance(error, ValidationErrorData) else error for error in exc.errors
    )
