"""The Avro schemas of this checkout: what its services may publish."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
from django.conf import settings
from fastavro.validation import ValidationError, ValidationErrorData, validate

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})


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

    def encode(self, fields: Mapping[str, Any]) -> bytes:
        """Return the record as bare Avro.

        Raises:
            DoesNotFit: a field is missing, is unknown or has the wrong type.
        """
        unknown = fields.keys() - {field["name"] for field in self.parsed["fields"]}
        if unknown:
            raise DoesNotFit(f"{self.name} has no field {', '.join(sorted(unknown))}.")
        body = io.BytesIO()
        try:
            # The writer alone would take 1.0 or true for a number.
            validate(fields, self.parsed, strict=True)
            fastavro.schemaless_writer(body, self.parsed, fields, strict=True)
        except ValidationError as exc:
            raise DoesNotFit(_reasons(exc)) from exc
        except (TypeError, ValueError, OverflowError, KeyError, AttributeError) as exc:
            raise DoesNotFit(f"{self.name}: {exc}") from exc
        return body.getvalue()


def local_schemas() -> Mapping[str, LocalSchema]:
    """Return the schemas of settings.AVRO_DIR by the full names of their records."""
    return _load(Path(settings.AVRO_DIR))


@functools.cache
def _load(directory: Path) -> Mapping[str, LocalSchema]:
    schemas: dict[str, LocalSchema] = {}
    for path in sorted(directory.glob("**/*.avsc")):
        text = path.read_text(encoding="utf-8")
        parsed = fastavro.parse_schema(json.loads(text), named_schemas={})
        if not isinstance(parsed, dict) or parsed["type"] != "record":
            raise ValueError(f"{path} must hold one record.")
        name = parsed["name"]
        if name in schemas:
            raise ValueError(f"{path} and {schemas[name].path} both hold {name}.")
        schemas[name] = LocalSchema(name=name, path=path, text=text, parsed=parsed)
    return schemas


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
