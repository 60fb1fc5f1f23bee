from __future__ import annotations

from dataclasses import dataclass

import pytest

from apps.outbox.failures import Poison
from apps.outbox.inbox import ReceivedEvent
from apps.outbox.models import OutboxEvent
from apps.outbox.receiver import Outcome
from apps.outbox.testing.outbox import Outbox
from apps.outbox.tests.sending import OPENED_AT, GateState, event_class, publish_all
from apps.outbox.transactions import run_in_transaction

pytest_plugins = ["apps.outbox.testing.plugin"]

GateOpened = event_class()


@dataclass(frozen=True, kw_only=True)
class ReadersGate:
    """The part of the owner's event that a reader declares."""

    topic = "test.gates"
    namespace = "test.gates"
    type = "test.gates.gate.opened.v1"
    aggregate_type = "gate"

    gate_id: str
    version: int
    width_cm: int = 0
    keeper: str | None = "nobody"

    @property
    def aggregate_id(self):
        return self.gate_id


ReadersGate.__name__ = "GateOpened"


@pytest.fixture
def kit(gates, db):
    """Return an outbox whose handler notes what it is given."""
    seen = []
    kit = Outbox({ReadersGate: seen.append}, group="readers")
    kit.seen = seen
    return kit


def test_what_was_committed_is_returned_as_the_event_that_it_is(kit):
    publish_all(GateOpened(gate_id="north", keeper="Ann"), GateOpened(gate_id="south"))

    event = kit.assert_published(GateOpened, gate_id="north")

    assert event == GateOpened(gate_id="north", keeper="Ann")
    assert event.opened_at == OPENED_AT
    assert [each.gate_id for each in kit.published(GateOpened)] == ["north", "south"]


def test_an_instant_is_compared_as_an_instant(kit):
    publish_all(GateOpened(gate_id="north"))

    kit.assert_published(GateOpened, opened_at=OPENED_AT)


def test_what_was_not_published_is_reported_beside_what_was(kit):
    publish_all(GateOpened(gate_id="north"))

    with pytest.raises(AssertionError, match=r"(?s)0 events GateOpened\(gate_id='west'\).*north"):
        kit.assert_published(GateOpened, gate_id="west")


def test_one_of_several_must_be_told_from_the_others(kit):
    publish_all(GateOpened(gate_id="north"), GateOpened(gate_id="south"))

    with pytest.raises(AssertionError, match="2 events"):
        kit.assert_published(GateOpened)


def test_nothing_published_is_proven_after_a_rollback(kit):
    with pytest.raises(ZeroDivisionError):
        run_in_transaction(lambda: publish_all(GateOpened(gate_id="north")) and 1 / 0)

    kit.assert_nothing_published()


def test_something_published_is_named(kit):
    publish_all(GateOpened(gate_id="north"))

    with pytest.raises(AssertionError, match="north"):
        kit.assert_nothing_published()


def test_what_was_there_before_the_test_is_not_its_own(kit):
    publish_all(GateOpened(gate_id="north"))

    Outbox().assert_nothing_published()


def test_an_event_reaches_its_handler_once(kit):
    event = ReadersGate(gate_id="north", version=1, width_cm=90, keeper=None)

    assert kit.deliver(event) is Outcome.PROCESSED
    assert kit.deliver(event) is Outcome.DUPLICATE

    assert kit.seen == [event]
    assert ReceivedEvent.objects.filter(pk__startswith="readers/").count() == 1


def test_a_handler_that_fails_leaves_the_event_to_be_tried_again(kit):
    event = ReadersGate(gate_id="north", version=1)
    failing = Outbox({ReadersGate: lambda _event: 1 / 0}, group="readers")

    with pytest.raises(ZeroDivisionError):
        failing.deliver(event)

    assert kit.deliver(event) is Outcome.PROCESSED


def test_a_record_that_no_reader_can_take_is_poison(kit):
    with pytest.raises(Poison):
        kit.deliver(ReadersGate(gate_id="north", version=1), headers={"ce_id": ""})


def test_a_registry_that_is_away_is_felt_by_the_test(kit):
    kit.registry.is_away = True

    with pytest.raises(Exception, match="away"):
        kit.deliver(ReadersGate(gate_id="north", version=1))


def test_published_events_take_their_way_to_the_handlers_and_on(gates, db):
    def open_the_next(event):
        if event.width_cm:
            width = event.width_cm - 1
            publish_all(GateOpened(gate_id=f"{event.gate_id}.", width_cm=width))

    kit = Outbox({ReadersGate: open_the_next}, group="readers")
    publish_all(GateOpened(gate_id="north", width_cm=3))

    assert kit.deliver_published() == 4
    assert kit.deliver_published() == 0
    assert [event.width_cm for event in kit.published(GateOpened)] == [3, 2, 1, 0]
    assert set(OutboxEvent.objects.values_list("state", flat=True)) == {"published"}


def test_handlers_that_feed_each_other_without_an_end_are_stopped(gates, db, monkeypatch):
    monkeypatch.setattr("apps.outbox.testing.outbox.MOST_EVENTS", 5)
    kit = Outbox(
        {ReadersGate: lambda event: publish_all(GateOpened(gate_id=f"{event.gate_id}."))},
        group="readers",
    )
    publish_all(GateOpened(gate_id="north"))

    with pytest.raises(AssertionError, match="More than 5 events"):
        kit.deliver_published()


def test_the_plugins_fixtures_need_no_more_than_the_settings(gates, outbox, fake_clock):
    publish_all(GateOpened(gate_id="north"))

    assert outbox.assert_published(GateOpened).gate_id == "north"
    assert isinstance(outbox.published(GateOpened)[0], GateState)
    assert fake_clock() == fake_clock()
