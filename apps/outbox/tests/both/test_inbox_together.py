from __future__ import annotations

import uuid

import pytest
from django.db import IntegrityError

from apps.outbox import inbox
from apps.outbox.inbox import Apart, Message, Together, Work, process_once, process_together
from apps.outbox.models import ReceivedEvent
from apps.outbox.tests.receiving import event_class, light, times_lit

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _have_time(monkeypatch):
    """A busy machine takes long over a batch, which would then end before its last event."""
    monkeypatch.setattr(inbox, "BATCH_SECONDS", 60.0)


def work(handler=light, *, event_id=None, lamp_id=None, together=None):
    message = Message(
        group="readers",
        event_id=event_id or str(uuid.uuid4()),
        topic="test.lamps",
        partition=1,
        offset=7,
        key="lamp",
        event=event_class("test.lamps")(lamp_id=lamp_id or uuid.uuid4().hex, version=3),
    )
    return Work(message, handler, together)


def noted(works):
    ids = [each.message.inbox_id for each in works]
    return ReceivedEvent.objects.filter(pk__in=ids).count()


def test_many_events_take_effect_in_their_order_and_are_noted():
    seen = []

    def remember(event):
        light(event)
        seen.append(event.lamp_id)

    works = [work(remember) for _ in range(20)]

    assert process_together(works) == [True] * 20
    assert seen == [each.message.event.lamp_id for each in works]
    assert noted(works) == 20


def test_events_that_took_effect_before_and_records_that_nobody_reads_are_passed_over():
    known, twice = work(), work()
    process_once(known.message, light)

    assert process_together([known, None, twice, twice]) == [False, False, True, False]
    assert times_lit(known.message.event.lamp_id) == 1
    assert times_lit(twice.message.event.lamp_id) == 1


def test_one_that_fails_leaves_neither_note_nor_effect_of_any_and_is_named():
    def fail(event):
        light(event)
        raise ValueError("a bug")

    works = [work(), work(), work(fail), work()]

    with pytest.raises(Apart) as caught:
        process_together(works)

    assert (caught.value.at, str(caught.value.cause)) == (2, "a bug")
    assert noted(works) == 0
    assert sum(times_lit(each.message.event.lamp_id) for each in works) == 0


def test_an_event_that_another_consumer_was_faster_with_sets_them_apart():
    raced = work()

    def lose_the_race(event):
        light(event)
        inbox._note(raced.message).save(force_insert=True)

    works = [work(lose_the_race), raced]

    with pytest.raises(Apart) as caught:
        process_together(works)

    assert caught.value.cause is None
    assert isinstance(caught.value.__cause__, IntegrityError)
    assert noted(works) == 0


def test_a_batch_ends_when_its_time_is_up(monkeypatch):
    monkeypatch.setattr(inbox, "BATCH_SECONDS", 0.0)
    works = [work(), work()]

    assert process_together(works) == [True]
    assert noted(works) == 1


def test_what_else_belongs_to_the_transaction_is_told_how_far_it_reaches():
    reached = []

    process_together([work(), None, work()], reached.append)

    assert reached == [3]


def test_a_handler_of_many_is_given_those_that_follow_each_other_and_are_new():
    batches = []

    def light_all(events):
        for event in events:
            light(event)
        batches.append([event.lamp_id for event in events])

    together = Together(light_all)
    known = work(together, together=together, lamp_id="known")
    process_once(known.message, together)
    works = [
        work(together, together=together, lamp_id="a"),
        known,
        work(together, together=together, lamp_id="b"),
        work(lamp_id="c"),
        work(together, together=together, lamp_id="d"),
    ]

    assert process_together(works) == [True, False, True, True, True]
    assert batches == [["known"], ["a", "b"], ["d"]]
    assert noted(works) == 5


def test_of_many_that_were_handled_at_once_none_is_named():
    def fail(_events):
        raise ValueError("a bug")

    together = Together(fail)
    works = [work(together, together=together) for _ in range(3)]

    with pytest.raises(Apart) as first:
        process_together(works)
    with pytest.raises(Apart) as behind:
        process_together([work(), *works])

    assert (first.value.at, behind.value.at) == (None, 1)
