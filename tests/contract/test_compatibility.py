"""The rules themselves, for a check that refuses nothing would pass every schema."""

from __future__ import annotations

import pytest

from tests.contract.compatibility import list_incompatibilities

INSTANT = {"type": "long", "logicalType": "timestamp-millis"}


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
    ],
    ids=["nothing changed", "a field with a default came", "a field with a default went"],
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
    ],
    ids=[
        "a field without a default came",
        "a field without a default went",
        "a type changed",
        "a type was widened, which old readers cannot read",
        "a number became an instant",
        "a field became nullable, which old readers cannot read",
        "the record was renamed",
    ],
)
def test_changes_that_break_a_reader_are_refused(old: dict, new: dict) -> None:
    assert list_incompatibilities(old, new) != []
