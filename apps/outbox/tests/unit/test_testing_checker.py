from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from apps.outbox.testing.checker import Kind, check, report
from apps.outbox.testing.history import (
    Fault,
    History,
    Letter,
    Outcome,
    Reading,
    Row,
    Transaction,
    committed,
)
from apps.outbox.tests.histories import (
    FAULTS,
    GROUP,
    PENDING,
    SENT,
    TOPIC,
    Story,
    a_story,
    sent_rows,
    stories,
)


def kinds(story, **options):
    return {violation.kind for violation in check(story.history(), **options)}


def test_a_legal_history_has_no_violation():
    assert check(a_story().history()) == []


@pytest.mark.parametrize(("plant", "kind"), FAULTS.values(), ids=FAULTS.keys())
def test_each_planted_fault_is_found(plant, kind):
    story = a_story()

    plant(story, sent_rows(story)[0].event)

    assert kind in kinds(story)


@given(stories())
@settings(max_examples=200, deadline=None)
def test_no_legal_history_is_accused(story):
    assert check(story.history()) == []


@given(stories(), st.sampled_from(sorted(FAULTS)), st.data())
@settings(max_examples=300, deadline=None)
def test_a_fault_anywhere_in_a_legal_history_is_found(story, name, data):
    plant, kind = FAULTS[name]
    candidates = sent_rows(story)
    assume(candidates)

    plant(story, data.draw(st.sampled_from(candidates)).event)

    assert kind in kinds(story)


def test_a_repetition_behind_a_later_version_is_refused_by_the_strict_alone():
    story = Story()
    story.transact(Outcome.COMMITTED, ("north", SENT), ("north", SENT))
    story.faults.append(Fault(at=0.0, what="pause", in_flight=2))
    story.deliver(story.deliveries[0].event)

    assert kinds(story) == set()
    assert kinds(story, strict=True) == {Kind.REPEATED_LATE}


def test_a_batch_that_is_sent_again_at_once_goes_back_too():
    story = Story()
    story.transact(Outcome.COMMITTED, ("north", SENT), ("north", SENT))
    story.repeat(0, 2)

    assert kinds(story) == set()
    assert kinds(story, strict=True) == {Kind.REPEATED_LATE}


def test_repetitions_are_bounded_by_what_was_in_flight():
    story = Story()
    story.transact(Outcome.COMMITTED, ("north", SENT), ("south", SENT))
    story.faults.append(Fault(at=0.0, what="kill", in_flight=1))
    story.deliver(story.deliveries[0].event)
    assert kinds(story) == set()

    story.deliver(story.deliveries[1].event)
    assert kinds(story) == {Kind.REPEATED}


def test_an_unknown_transaction_may_have_happened_or_not_but_not_by_halves():
    for is_there in (True, False):
        story = Story()
        story.transact(Outcome.UNKNOWN, ("north", SENT), ("south", SENT), is_there=is_there)
        assert kinds(story) == set()

    story = Story()
    story.transact(Outcome.UNKNOWN, ("north", PENDING), ("south", PENDING))
    story.rows.pop()
    assert kinds(story) == {Kind.TORN}


def test_an_unknown_transaction_that_happened_must_be_delivered_like_any_other():
    story = Story()
    story.transact(Outcome.UNKNOWN, ("north", SENT))
    story.deliveries.clear()

    assert Kind.NOT_ON_TOPIC in kinds(story)


def test_a_record_of_an_aborted_transaction_is_an_invention():
    story = Story()
    story.transact(Outcome.COMMITTED, ("north", SENT))
    story.transactions[0] = replace(story.transactions[0], outcome=Outcome.ABORTED)

    assert kinds(story) == {Kind.INVENTED}


def test_what_is_under_way_is_no_fault_before_the_end():
    story = Story()
    story.transact(Outcome.COMMITTED, ("north", SENT), ("south", SENT))
    story.rows[0] = replace(story.rows[0], state="pending")
    story.received.remove(story.rows[1].event.id)
    story.effects["south"] = 0

    assert kinds(story, at_rest=False) == set()
    assert kinds(story) == {Kind.COUNTED_TWICE, Kind.EFFECT_MISSING}


def test_a_letter_of_nobodys_event_is_an_invention():
    story = Story()
    story.letters.append(Letter(event_id="invented", topic=TOPIC, state="open", group=GROUP))

    assert Kind.INVENTED in kinds(story)


def test_a_consumers_dead_letter_stands_for_the_effect_and_excludes_it():
    story = Story()
    story.transact(Outcome.COMMITTED, ("north", SENT))
    event = story.deliveries[0].event
    story.letters.append(Letter(event_id=event.id, topic=TOPIC, state="open", group=GROUP))
    dlq = replace(event, topic=f"{TOPIC}.{GROUP}.dlq")
    story.buried.append(replace(story.deliveries[0], event=dlq))
    assert kinds(story) == {Kind.COUNTED_TWICE}

    story.received, story.effects = [], {}
    assert kinds(story) == set()


def test_a_record_on_the_dead_letter_topic_without_a_letter_is_missed():
    story = Story()
    story.transact(Outcome.COMMITTED, ("north", SENT))
    event = story.deliveries[0].event
    story.buried.append(replace(story.deliveries[0], event=replace(event, topic=f"{TOPIC}.dlq")))

    assert kinds(story) == {Kind.LETTER_MISSING}


def test_a_parked_record_and_a_type_that_the_group_does_not_handle_need_no_effect():
    story = Story()
    story.transact(Outcome.COMMITTED, ("north", SENT), ("south", SENT))
    north, south = (row.event for row in story.rows)
    history = story.history()
    reading = Reading(group=GROUP, topics=frozenset({TOPIC}), received=())

    history.readings = [replace(reading, waiting=frozenset({north.id, south.id}))]
    assert check(history) == []

    history = story.history()
    history.readings = [replace(reading, types=frozenset({"closed"}))]
    assert check(history) == []


def test_without_its_rows_an_event_that_did_not_come_is_lost():
    story = a_story()
    history = story.history()
    history.rows = None
    history.deliveries = ()
    history.readings = ()

    assert Kind.LOST in {violation.kind for violation in check(history)}


def test_rows_alone_may_stand_for_what_was_committed():
    story = Story()
    story.transact(Outcome.COMMITTED, ("north", SENT), ("south", SENT))
    history = History(
        transactions=committed(story.rows), rows=story.rows, deliveries=story.deliveries[:1]
    )

    [violation] = check(history)

    assert violation.kind is Kind.NOT_ON_TOPIC


def test_the_report_counts_and_names_what_is_wrong():
    story = Story()
    for n in range(30):
        event = replace(story.event("north"), id=f"lost-{n}")
        story.transactions.append(Transaction(outcome=Outcome.COMMITTED, events=(event,)))
        story.rows.append(Row(event=event, state="published"))

    text = report(check(story.history()), most=2)

    lines = text.splitlines()
    assert lines[0] == "30 x marked as published, and not on its topic"
    assert lines[1].startswith("  test.gates north v1 (lost-0): marked as published")
    assert lines[2].startswith("  test.gates north v2 (lost-1): marked as published")
    assert lines[3:] == ["  and 28 more"]
