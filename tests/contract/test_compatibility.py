"""The rules themselves, for a check that refuses nothing would pass every schema."""

from __future__ import annotations

import pytest

from apps.outbox.testing.contracts import list_incompatibilities

INSTANT = {"type": "long", "logicalType": "timestamp-millis"}
ROWS = {"type": "array", "items": "string"}
KIND = {"type": "enum", "name": "Kind", "symbols": ["SEAT", "STANDING"]}


def record(*fields: dict, name: str = "TicketCreated") -> dict:
    return {
        "type": "record",
        "name": name,
        "namespace": "ticketing.tickets",
        "fields": [{"name": "ticket_id", "type": "string"}, *fields],
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (record(), record()),
        (record(), record({"name": "row", "type": ["null", "string"], "default": None})),
        (record({"name": "row", "type": "string", "default": ""}), record()),
        (record({"name": "rows", "type": ROWS}), record({"name": "rows", "type": ROWS})),
    ],
    ids=[
        "nothing changed",
        "a field with a default came",
        "a field with a default went",
        "a list stayed",
    ],
)
def test_harmless_changes_pass(old: dict, new: dict) -> None:
    assert list_incompatibilities(old, new) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (record(), record({"name": "row", "type": "string"})),
        (record({"name": "row", "type": "string"}), record()),
        (record({"name": "price", "type": "long"}), record({"name": "price", "type": "string"})),
        (record({"name": "price", "type": "int"}), record({"name": "price", "type": "long"})),
        (record({"name": "at", "type": "long"}), record({"name": "at", "type": INSTANT})),
        (
            record({"name": "row", "type": "string"}),
            record({"name": "row", "type": ["null", "string"], "default": None}),
        ),
        (record(), record(name="TicketListed")),
        (
            record({"name": "rows", "type": ROWS}),
            record({"name": "rows", "type": ROWS | {"items": "long"}}),
        ),
        (
            record({"name": "kind", "type": KIND}),
            record({"name": "kind", "type": KIND | {"symbols": ["SEAT", "STANDING", "BOX"]}}),
        ),
    ],
    ids=[
        "a field without a default came",
        "a field without a default went",
        "a type changed",
        "a type was widened, which old readers cannot read",
        "a number became an instant",
        "a field became nullable, which old readers cannot read",
        "the record was renamed",
        "a list holds something else",
        "a symbol came, which old readers do not know",
    ],
)
def test_changes_that_break_a_reader_are_refused(old: dict, new: dict) -> None:
    assert list_incompatibilities(old, new) != []
