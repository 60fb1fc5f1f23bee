from __future__ import annotations

import pytest

from apps.outbox import display
from apps.outbox.dead_letters import pack_headers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "(no value)"),
        (b"", "(empty)"),
        (b'{"a":1}', '{\n  "a": 1\n}'),
        (
            b"\xffjunk",
            f"(neither Avro nor JSON)\n000000  {'ff 6a 75 6e 6b':<47}  .junk",
        ),
        # orjson reads more levels than it writes.
        (
            b"[" * 300 + b"]" * 300,
            f"(JSON that is nested too deeply)\n{display.hex_dump(b'[' * 300 + b']' * 300)}",
        ),
    ],
)
def test_a_value_is_shown_whatever_it_holds(value, text):
    assert display.value_text(value) == text


def test_avro_without_a_schemas_id_is_shown_as_bytes():
    assert display.value_text(b"\x00\x01").startswith("(The value does not begin with")


def test_only_the_beginning_of_many_bytes_is_shown():
    dump = display.hex_dump(b"\xff" * 5000)

    assert dump.endswith("… 2,952 bytes more")


def test_headers_are_shown_as_text():
    packed = pack_headers((("a", b"text"), ("b", b"\xff"), ("c", None)))

    assert display.header_texts(packed) == [("a", "text"), ("b", "\\xff"), ("c", "(null)")]


@pytest.mark.parametrize(("text", "headers"), [('{"a": 1}', {"a": "1"}), ("{}", {}), ("junk", {})])
def test_headers_of_the_outbox_are_read(text, headers):
    assert display.json_object(text) == headers


def test_only_the_first_line_of_a_reason_is_listed():
    assert display.first_line("one\ntwo") == "one"
    assert display.first_line("") == ""
    assert display.first_line("x" * 100) == "x" * 80 + "…"
