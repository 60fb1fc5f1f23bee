from __future__ import annotations

import dataclasses

import pytest

from apps.outbox.models import DeadLetter, OutboxEvent
from apps.outbox.testing.checker import Kind, check
from apps.outbox.testing.history import History, Outcome, Transaction, committed
from apps.outbox.testing.reading import note, read_letters, read_rows, read_topic
from apps.outbox.tests.sending import drain, publish_all, spoil

pytestmark = pytest.mark.django_db(transaction=True)


def noted(*events):
    """Publish the events in one transaction, and return what the client knows of it."""
    ids = publish_all(*events)
    pairs = zip(events, ids, strict=True)
    return Transaction(outcome=Outcome.COMMITTED, events=tuple(note(*pair) for pair in pairs))


def history(bench, *transactions):
    return History(
        transactions=transactions or committed(read_rows([bench.topic], bench.registry)),
        rows=read_rows([bench.topic], bench.registry),
        deliveries=read_topic(bench.topic, bench.registry),
        letters=read_letters([bench.topic]),
        buried=read_topic(bench.dlq),
    )


def kinds(violations):
    return {violation.kind for violation in violations}


def test_what_was_published_is_what_is_in_the_rows_and_on_the_topic(sending):
    told = noted(*[sending.opened(f"gate-{n}", version) for n in range(5) for version in (1, 2)])
    drain(sending.relay())

    delivered = list(read_topic(sending.topic, sending.registry))
    rows = list(read_rows([sending.topic], sending.registry))

    by_id = {event.id: event for event in told.events}
    assert {row.event.id: row.state for row in rows} == dict.fromkeys(by_id, "published")
    assert {each.event.id: each.event for each in delivered} == {
        row.event.id: row.event for row in rows
    }
    assert all(row.event.headers for row in rows)
    for row in rows:
        assert dataclasses.replace(row.event, headers="") == by_id[row.event.id]
    assert check(history(sending, told)) == []


def test_an_empty_topic_is_read_to_its_end(sending):
    assert list(read_topic(sending.topic, sending.registry)) == []


def test_a_dead_letter_accounts_for_its_row(sending):
    told = noted(sending.opened("north"))
    spoil(told.events[0].id, b"spoilt")
    drain(sending.relay())

    assert check(history(sending, dataclasses.replace(told))) == []

    DeadLetter.objects.all().delete()
    assert kinds(check(history(sending, told))) == {Kind.LETTER_MISSING}


def test_a_payload_that_was_changed_behind_the_clients_back_is_seen(sending):
    told = noted(sending.opened("north", width_cm=90))
    row = OutboxEvent.objects.get(pk=told.events[0].id)
    spoil(row.pk, bytes(row.payload).replace(b"90", b"91"))
    drain(sending.relay())

    assert kinds(check(history(sending, told))) == {Kind.DIFFERS}


def test_a_row_that_was_marked_without_being_sent_is_seen_without_any_notes(sending):
    [event_id] = publish_all(sending.opened("north"))
    OutboxEvent.objects.filter(pk=event_id).update(state=OutboxEvent.State.PUBLISHED)

    assert kinds(check(history(sending))) == {Kind.NOT_ON_TOPIC}


def test_a_row_that_was_pruned_before_it_was_sent_is_seen(sending):
    told = noted(sending.opened("north"), sending.opened("south"))
    OutboxEvent.objects.filter(pk=told.events[0].id).delete()
    drain(sending.relay())

    assert kinds(check(history(sending, told))) == {Kind.PRUNED}
