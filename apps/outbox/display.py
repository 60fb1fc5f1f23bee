"""Records as text for a person: whatever they hold, and also when it cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx
import orjson
from confluent_kafka.schema_registry.error import SchemaRegistryError

from .codec import MAGIC, Codec
from .dead_letters import unpack_headers
from .failures import Poison
from .models import DeadLetter
from .registry import Registry

LONGEST_LINE = 80
MOST_BYTES = 2048


def value_text(value: bytes | None) -> str:
    """Return a record's value as indented JSON where it can be decoded, else its bytes."""
    if not value:
        return "(no value)" if value is None else "(empty)"
    if value[0] == MAGIC:
        return _avro_text(value)
    try:
        return _indented(orjson.loads(value))
    except orjson.JSONDecodeError:
        return f"(neither Avro nor JSON)\n{hex_dump(value)}"
    except orjson.JSONEncodeError:
        return f"(JSON that is nested too deeply)\n{hex_dump(value)}"


def json_object(text: str) -> dict[str, str]:
    """Read a JSON object of texts; empty if it is none."""
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return {str(name): str(value) for name, value in parsed.items()} if parsed else {}


def header_texts(packed: str) -> list[tuple[str, str]]:
    """Return a dead letter's headers as text."""
    return [
        (name, "(null)" if value is None else value.decode("utf-8", "backslashreplace"))
        for name, value in unpack_headers(packed)
    ]


def letters_table(letters: Sequence[DeadLetter]) -> str:
    """Return dead letters as a table for a terminal, or a line that there are none."""
    if not letters:
        return "No dead letters."
    heads = (
        "id",
        "stage",
        "topic",
        "group",
        "key",
        "kind",
        "state",
        "tries",
        "last failed",
        "error",
    )
    rows = [
        (
            str(letter.pk),
            letter.stage,
            letter.topic,
            letter.group or "-",
            key_text(letter.key),
            letter.error_kind,
            letter.state,
            str(letter.attempts),
            f"{letter.last_failed_at:%Y-%m-%d %H:%M:%S}",
            first_line(letter.error_message),
        )
        for letter in letters
    ]
    return table(heads, rows)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return columns as wide as their longest cell, for a terminal."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (heads, *rows)
    )


def duration(seconds: float) -> str:
    """Return a time span in its two largest units: 3 d 4 h, 12 min 5 s, 0 s."""
    rest = round(seconds)
    parts = []
    for name, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "0 s"


def key_text(key: bytes | memoryview | None) -> str:
    """Return a record's key as text."""
    return "" if key is None else bytes(key).decode("utf-8", "backslashreplace")


def first_line(text: str) -> str:
    """Return the beginning of a text that may have many lines."""
    line = (text.splitlines() or [""])[0]
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}…"


def hex_dump(value: bytes) -> str:
    """Return the bytes in hexadecimal and as ASCII, sixteen to a line."""
    lines = []
    for start in range(0, min(len(value), MOST_BYTES), 16):
        row = value[start : start + 16]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)  # noqa: PLR2004
        lines.append(f"{start:06x}  {row.hex(' '):<47}  {text}")
    if len(value) > MOST_BYTES:
        lines.append(f"… {len(value) - MOST_BYTES:,} bytes more")
    return "\n".join(lines)


def _avro_text(value: bytes) -> str:
    registry = Registry.from_settings()
    try:
        name, fields = Codec(registry).decode(value)
    except Poison as exc:
        return f"({exc})\n{hex_dump(value)}"
    except (SchemaRegistryError, httpx.TransportError) as exc:
        return f"(The schema registry does not answer: {exc})\n{hex_dump(value)}"
    finally:
        registry.close()
    return f"{name}\n{_indented(fields)}"


def _indented(value: Any) -> str:  # noqa: ANN401 (any JSON)
    return orjson.dumps(value, default=_plain, option=orjson.OPT_INDENT_2).decode()


def _plain(value: Any) -> str:  # noqa: ANN401 (whatever Avro has and JSON has not)
    return value.hex() if isinstance(value, bytes) else str(value)
