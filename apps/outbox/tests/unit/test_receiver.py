from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

import pytest

from apps.outbox.dead_letters import Record
from apps.outbox.failures import Poison
from apps.outbox.receiver import Outcome, Receiver, build, event_id, known_event_id
from apps.outbox.topics import tier_topic


@dataclass(frozen=True, kw_only=True)
class LampLit:
    topic: ClassVar[str] = "test.lamps"
    namespace: ClassVar[str] = "test.lamps"
    type: ClassVar[str] = "test.lamps.lamp.lit.v1"
    aggregate_type: ClassVar[str] = "lamp"

    lamp_id: str
    version: int
    colour: str = "white"

    @property
    def aggregate_id(self):
        return self.lamp_id


class FixedDecoder:
    def __init__(self, name="test.lamps.LampLit", **fields):
        self.answer = (name, fields)

    def decode(self, _value):
        return self.answer


RECORD = Record(topic="test.lamps", partition=2, offset=7, key=b"lamp", value=b"\x00...")


def receiver(decoder):
    return Receiver("readers", {LampLit: pytest.fail}, decoder)


def with_id(value):
    return RECORD._replace(headers=(("ce_id", value),))


def test_the_topics_of_the_handlers_and_their_retries_are_read():
    *topics, tiers = receiver(FixedDecoder()).topics

    assert topics == ["test.lamps", "test.lamps.readers.retry"]
    assert re.search(tiers, tier_topic("test.lamps", "readers", 600))
    assert not re.search(tiers, tier_topic("test.lamps", "other.readers", 600))
    assert not re.search(tiers, "test.lamps.readers.retry")


def test_a_record_whose_headers_cannot_be_read_is_poison():
    record = RECORD._replace(headers_fault="byte 0xff is no UTF-8")

    with pytest.raises(Poison, match="0xff") as caught:
        receiver(FixedDecoder(lamp_id="lamp", version=1)).receive(record)

    assert caught.value.kind == "bad_headers"


@pytest.mark.parametrize("value", [None, b""])
def test_a_record_without_a_value_is_poison(value):
    with pytest.raises(Poison) as caught:
        receiver(FixedDecoder()).receive(RECORD._replace(value=value))

    assert caught.value.kind == "empty"


def test_a_type_of_the_topics_service_that_nobody_handles_is_skipped():
    assert receiver(FixedDecoder("test.lamps.LampBroken")).receive(RECORD) is Outcome.SKIPPED


def test_a_record_of_another_service_is_poison_on_the_topic():
    with pytest.raises(Poison) as caught:
        receiver(FixedDecoder("test.chairs.ChairSold")).receive(RECORD)

    assert caught.value.kind == "wrong_schema"
    assert "test.chairs.ChairSold does not belong on test.lamps" in str(caught.value)


def test_a_record_that_lacks_a_field_is_poison():
    with pytest.raises(Poison) as caught:
        receiver(FixedDecoder(lamp_id="l")).receive(RECORD)

    assert caught.value.kind == "wrong_schema"
    assert "version" in str(caught.value)


def test_an_event_is_built_of_the_fields_that_its_reader_declares():
    fields = {"lamp_id": "l", "version": 3, "watts": 40}

    assert build(LampLit, fields) == LampLit(lamp_id="l", version=3)


def test_the_events_id_is_its_header():
    assert event_id(with_id(b"0198-abc")) == "0198-abc"


def test_a_record_without_an_id_is_known_by_its_place():
    assert event_id(RECORD) == event_id(RECORD)
    assert event_id(RECORD) != event_id(RECORD._replace(offset=8))


@pytest.mark.parametrize("value", [b"", None, b"\xff\xfe", b"x" * 65, b"a\x00b"])
def test_an_id_that_nobody_could_have_meant_is_poison(value):
    with pytest.raises(Poison) as caught:
        event_id(with_id(value))

    assert caught.value.kind == "bad_headers"
    assert known_event_id(with_id(value)) == ""
