from __future__ import annotations

import copy
import json

import fastavro
import pytest

from apps.outbox.schemas import DoesNotFit, _load, canonical, local_schemas

SCHEMA = {
    "type": "record",
    "name": "BoxMoved",
    "namespace": "test.boxes",
    "doc": "A box was moved.",
    "fields": [
        {"name": "box_id", "type": "string", "doc": "The box."},
        {"name": "note", "type": ["null", "string"], "default": None},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "moved_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {
            "name": "place",
            "type": {
                "type": "record",
                "name": "Place",
                "fields": [{"name": "row", "type": "int"}],
            },
        },
        {"name": "before", "type": ["null", "Place"], "default": None},
    ],
}


def changed(change):
    schema = copy.deepcopy(SCHEMA)
    change(schema)
    return schema


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.update(doc="Other words."),
        lambda s: s["fields"][0].pop("doc"),
        lambda s: s["fields"][0].update(type={"type": "string"}),
        lambda s: s["fields"][4]["type"].update(name="test.boxes.Place"),
        lambda s: s["fields"][5].update(type=["null", "test.boxes.Place"]),
        lambda s: s.update(name="test.boxes.BoxMoved", namespace="ignored.then"),
        lambda s: s["fields"][0].update(order="ascending"),
    ],
)
def test_another_spelling_means_the_same(change):
    assert canonical(changed(change)) == canonical(SCHEMA)


def test_row_from_before_a_field_with_a_default_came_is_written_with_the_default(tmp_path):
    row = {"box_id": "b", "tags": [], "moved_at": 1, "place": {"row": 1}}
    (tmp_path / "box_moved.avsc").write_text(json.dumps(SCHEMA))
    schema = _load(str(tmp_path))["test.boxes.BoxMoved"]

    assert schema.encode(row) == schema.encode(row | {"note": None, "before": None})
    with pytest.raises(DoesNotFit):
        schema.encode({"box_id": "b"})


def test_parsed_and_reordered_schema_means_the_same():
    parsed = fastavro.parse_schema(copy.deepcopy(SCHEMA), named_schemas={})
    reordered = json.loads(json.dumps(SCHEMA, sort_keys=True))

    assert canonical(parsed) == canonical(reordered) == canonical(SCHEMA)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["fields"][0].update(type="bytes"),
        lambda s: s["fields"][0].update(name="crate_id"),
        lambda s: s["fields"][0].update(default=""),
        lambda s: s["fields"][1].pop("default"),
        lambda s: s["fields"][3].update(type="long"),
        lambda s: s["fields"][4]["type"]["fields"][0].update(type="long"),
        lambda s: s["fields"][2]["type"].update(items="int"),
        lambda s: s["fields"].reverse(),
        lambda s: s.update(namespace="test.crates"),
        lambda s: s.update(aliases=["BoxPushed"]),
    ],
)
def test_another_meaning_is_told_apart(change):
    assert canonical(changed(change)) != canonical(SCHEMA)


def test_file_that_holds_no_record_is_refused(settings, tmp_path):
    settings.AVRO_DIR = tmp_path
    (tmp_path / "a.avsc").write_text('{"type": "enum", "name": "E", "symbols": ["A"]}')

    with pytest.raises(ValueError, match=r"a\.avsc"):
        local_schemas()


def test_two_files_of_one_record_are_refused(settings, tmp_path):
    settings.AVRO_DIR = tmp_path
    for name in ("a", "b"):
        (tmp_path / f"{name}.avsc").write_text(json.dumps(SCHEMA))

    with pytest.raises(ValueError, match=r"test\.boxes\.BoxMoved"):
        local_schemas()


FLAT = {
    "type": "record",
    "name": "test.Flat",
    "fields": [
        {"name": "i", "type": ["null", "int"]},
        {"name": "n", "type": "long"},
        {"name": "s", "type": ["string", "null"]},
        {"name": "b", "type": "boolean"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "mixed", "type": ["int", "string"]},
    ],
}
FITTING = {"i": 1, "n": 2, "s": "x", "b": True, "at": 0, "mixed": "x"}


@pytest.mark.parametrize("leave_out", [(), ("mixed",)])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("i", value) for value in (True, 1.0, "1", 2**31, -(2**31) - 1)),
        *(("n", value) for value in (True, 1.0, None, 2**63)),
        *(("s", value) for value in (1, b"x", "\ud800")),
        *(("b", value) for value in (1, None)),
        *(("at", value) for value in (0.5, "now")),
    ],
)
def test_value_of_another_type_fits_no_field_by_whichever_check(tmp_path, leave_out, name, value):
    schema = flat_schema(tmp_path, leave_out)
    fields = {each: FITTING[each] for each in FITTING if each not in leave_out}

    assert schema.encode(fields)
    assert schema.encode(fields | {"i": None, "s": None})
    with pytest.raises(DoesNotFit):
        schema.encode(fields | {name: value})


def flat_schema(directory, leave_out):
    fields = [field for field in FLAT["fields"] if field["name"] not in leave_out]
    (directory / "flat.avsc").write_text(json.dumps(FLAT | {"fields": fields}))
    return _load(directory)["test.Flat"]
