"""What operators do to events that wait, while relays are at work."""

from __future__ import annotations

import threading
import time
import uuid
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from apps.outbox import actions, dead_letters
from apps.outbox.actions import NotWaiting
from apps.outbox.dead_letters import ReasonMissing, Stage
from apps.outbox.kafka import Sender
from apps.outbox.models import DeadLetter, OperatorAction, OutboxEvent
from apps.outbox.stores import Delay, Settlement, open_store
from apps.outbox.tests.operating import a_letter, a_row
from apps.outbox.tests.sending import drain, in_threads, publish_all, spoil, versions_of, wait_for
from apps.outbox.topics import Topic
from apps.outbox.transactions import transactional

pytestmark = pytest.mark.django_db(transaction=True)

State = OutboxEvent.State
WHO = "anna@example.com"


def row(event_id):
    return OutboxEvent.objects.get(pk=event_id)


def letter_of(event_id):
    return DeadLetter.objects.get(pk=dead_letters.id_of_unsent(event_id))


def trail_of(event_id):
    found = OperatorAction.objects.filter(target=f"event/{event_id}").order_by("at")
    return [(each.by, each.action, each.note) for each in found]


def a_blocked_row(**fields):
    later = timezone.now() + timedelta(hours=1)
    return a_row(attempts=2, due_at=later, last_error="no such topic", **fields)


@pytest.fixture
def standing(sending, settings):
    """A bench whose keys stand still at an event that can never be sent."""
    settings.OUTBOX_TOPICS = (
        Topic(sending.topic, 3, "", namespace="test.gates", on_poison="block"),
    )
    return sending


@pytest.fixture
def running(standing):
    """The bench, with a relay that runs."""
    relay = standing.relay()

    def run():
        try:
            relay.run()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    yield standing
    relay.stop()
    thread.join(30)
    assert not thread.is_alive()


@transactional
def publish_spoilt(*events):
    """Publish events, of which no relay ever sees the first one as it should be.

    Returns the ids, and what the first one's payload should be.
    """
    ids = publish_all(*events)
    good = bytes(row(ids[0]).payload)
    spoil(ids[0], b"?")
    return ids, good


def test_an_event_is_tried_again_at_once(running):
    (bad, last), good = publish_spoilt(running.opened("north", 1), running.opened("north", 2))
    wait_for(lambda: OutboxEvent.objects.filter(pk=bad, attempts__gt=0).exists())

    spoil(bad, good)
    actions.retry_event(bad, by=WHO)
    wait_for(lambda: row(last).state == State.PUBLISHED)

    assert versions_of(running.records(count=2)) == {"north": [1, 2]}
    assert trail_of(bad) == [(WHO, "retry_now", "")]


def test_a_discarded_event_lets_its_key_go_on_and_stays_to_be_seen(running):
    [bad], _ = publish_spoilt(running.opened("north", 1))
    _, last = running.publish_run("north", [2, 3])
    wait_for(lambda: OutboxEvent.objects.filter(pk=bad, attempts__gt=0).exists())

    actions.discard_event(bad, by=WHO, reason=" never meant to be ")
    # The others wait for nothing but to be looked at.
    wait_for(lambda: row(last).state == State.PUBLISHED)

    assert versions_of(running.records(count=2)) == {"north": [2, 3]}
    assert row(bad).state == State.DEAD
    letter = letter_of(bad)
    assert (letter.state, letter.resolved_by) == (DeadLetter.State.DISCARDED, WHO)
    assert (letter.resolution, bytes(letter.value)) == ("never meant to be", b"?")
    assert trail_of(bad) == [(WHO, "discard_event", "never meant to be")]


@pytest.mark.parametrize(
    "fields",
    [
        {"attempts": 0},
        {"attempts": 1, "state": "published"},
        {"attempts": 1, "state": "dead"},
        {"attempts": 1, "state": "captured"},
    ],
)
def test_an_event_that_is_not_blocked_is_left_alone(fields):
    event = a_row(due_at=timezone.now() + timedelta(hours=1), **fields)

    with pytest.raises(NotWaiting, match="is not blocked"):
        actions.discard_event(event.pk, by=WHO, reason="x")
    with pytest.raises(NotWaiting, match="has not been refused"):
        actions.retry_event(event.pk, by=WHO)

    assert (row(event.pk).state, row(event.pk).attempts) == (event.state, event.attempts)
    assert not DeadLetter.objects.exists()
    assert trail_of(event.pk) == []


def test_an_event_that_a_relay_may_be_trying_is_not_discarded():
    event = a_row(attempts=1)

    with pytest.raises(NotWaiting, match="just trying it"):
        actions.discard_event(event.pk, by=WHO, reason="x")

    assert row(event.pk).state == State.PENDING


def test_an_event_that_does_not_exist_is_named():
    unknown = uuid.uuid4()

    with pytest.raises(NotWaiting, match=f"no event {unknown}"):
        actions.discard_event(unknown, by=WHO, reason="x")


def test_nothing_is_discarded_without_a_reason():
    event = a_blocked_row()

    with pytest.raises(ReasonMissing):
        actions.discard_event(event.pk, by=WHO, reason="  ")

    assert row(event.pk).state == State.PENDING


def test_an_event_that_was_dead_and_queued_again_is_discarded_with_what_it_holds_now():
    event = a_row(state="dead", payload=b"first")
    letter = a_letter(stage=Stage.RELAY, key=event.key.encode(), event_id=str(event.pk))
    dead_letters.request_replay(letter.pk, by="ben", note="mended")
    OutboxEvent.objects.filter(pk=event.pk).update(
        payload=b"second", attempts=1, due_at=timezone.now() + timedelta(hours=1)
    )

    actions.discard_event(event.pk, by=WHO, reason="hopeless")

    [letter] = DeadLetter.objects.all()
    assert letter.pk == dead_letters.id_of_unsent(event.pk)
    assert (letter.state, letter.replays) == (DeadLetter.State.DISCARDED, 1)
    assert (bytes(letter.value), letter.resolution) == (b"second", "hopeless")
    with pytest.raises(dead_letters.AlreadyResolved):
        dead_letters.request_replay(letter.pk, by="ben")


def test_of_two_who_discard_the_same_event_one_is_refused():
    event = a_blocked_row()
    refused = []

    def discard():
        try:
            actions.discard_event(event.pk, by=WHO, reason="x")
        except NotWaiting as exc:
            refused.append(exc)

    in_threads(*[discard] * 4)

    assert len(refused) == 3
    assert len(trail_of(event.pk)) == 1


def test_what_was_sent_before_its_discard_was_seen_is_published_after_all(sending):
    class Hasty(Sender):
        """While its records are on their way, somebody discards one by an old look at it."""

        def begin(self, records, **options):
            later = timezone.now() + timedelta(hours=1)
            OutboxEvent.objects.filter(pk=first).update(attempts=1, due_at=later)
            actions.discard_event(first, by=WHO, reason="x")
            return super().begin(records, **options)

    first, second = sending.publish_run("north", [1, 2])

    drain(sending.relay(sender=Hasty(timeout=15.0)))

    assert versions_of(sending.records(count=2)) == {"north": [1, 2]}
    assert (row(first).state, row(second).state) == (State.PUBLISHED, State.PUBLISHED)
    assert row(first).published_at is not None
    assert letter_of(first).state == DeadLetter.State.REPLAYED
    assert [(by, action) for by, action, _ in trail_of(first)] == [
        (WHO, "discard_event"),
        ("relay", "sent_after_all"),
    ]


def test_what_a_relay_notes_of_a_discarded_row_changes_nothing():
    event = a_blocked_row()
    store, owner = open_store(), uuid.uuid4().hex
    store.join(owner, 30)
    actions.discard_event(event.pk, by=WHO, reason="x")

    delay = Delay(event_id=event.pk, seconds=1, error="late")
    store.settle(owner, 30, Settlement(dead=[(event.pk, "late")], delayed=[delay]))
    store.leave(owner)

    now = row(event.pk)
    assert (now.state, now.attempts, now.last_error) == (State.DEAD, 2, "no such topic")


def test_however_discards_and_a_relay_meet_no_event_is_both_given_up_and_sent(sending):
    keys = [f"gate-{n}" for n in range(40)]
    events = publish_all(*[sending.opened(key) for key in keys])
    for place, event_id in enumerate(events):
        due_at = timezone.now() + timedelta(milliseconds=20 * place)
        OutboxEvent.objects.filter(pk=event_id).update(attempts=1, due_at=due_at)
    deadline = time.monotonic() + 60

    def relay():
        relay = sending.relay(batch=3)
        while OutboxEvent.objects.filter(state=State.PENDING).exists():
            assert time.monotonic() < deadline
            relay.run_once()

    in_threads(relay, lambda: discard_all(events), lambda: discard_all(events[::-1]))

    sent = {record.key().decode() for record in sending.records(count=1)}
    for key, event_id in zip(keys, events, strict=True):
        is_discarded = DeadLetter.objects.filter(
            pk=dead_letters.id_of_unsent(event_id), state=DeadLetter.State.DISCARDED
        ).exists()
        expected = State.PUBLISHED if key in sent else State.DEAD
        assert (row(event_id).state, is_discarded) == (expected, key not in sent)
    assert len(sent) not in {0, len(keys)}


def discard_all(events):
    for event_id in events:
        try:
            actions.discard_event(event_id, by=WHO, reason="x")
        except NotWaiting:
            continue
