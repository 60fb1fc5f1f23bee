from __future__ import annotations

import threading
import uuid

import pytest
from django.db import IntegrityError, connections
from django.utils import timezone

from apps.outbox.inbox import Message, process_once
from apps.outbox.models import ReceivedEvent
from apps.outbox.tests.receiving import event_class, light, times_lit

pytestmark = pytest.mark.django_db(transaction=True)


def message(event_id=None, group="readers"):
    return Message(
        group=group,
        event_id=event_id or str(uuid.uuid4()),
        topic="test.lamps",
        partition=1,
        offset=7,
        key="lamp",
        event=event_class("test.lamps")(lamp_id=uuid.uuid4().hex, version=3),
    )


def test_an_event_takes_effect_and_is_noted():
    received = message()

    assert process_once(received, light)

    note = ReceivedEvent.objects.get(pk=received.inbox_id)
    assert (note.topic, note.partition, note.offset, note.version) == ("test.lamps", 1, 7, 3)
    assert times_lit(received.event.lamp_id) == 1


def test_an_event_that_comes_again_has_no_second_effect():
    received = message()
    process_once(received, light)

    assert not process_once(received, light)
    assert times_lit(received.event.lamp_id) == 1


def test_each_group_has_its_own_effect_of_an_event():
    event_id = str(uuid.uuid4())
    process_once(message(event_id), light)

    assert process_once(message(event_id, group="others"), light)


def test_a_handler_that_fails_leaves_neither_note_nor_effect():
    received = message()

    def fail(event):
        light(event)
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        process_once(received, fail)

    assert not ReceivedEvent.objects.filter(pk=received.inbox_id).exists()
    assert times_lit(received.event.lamp_id) == 0


def test_a_constraint_that_the_handler_breaks_is_no_duplicate():
    received = message()

    def light_twice_under_one_key(event):
        light(event)
        fields = {"type": "", "topic": "", "partition": 0, "offset": 0, "key": ""}
        for _ in range(2):
            ReceivedEvent.objects.create(
                id=f"taken/{event.lamp_id}", received_at=timezone.now(), **fields
            )

    with pytest.raises(IntegrityError):
        process_once(received, light_twice_under_one_key)

    assert times_lit(received.event.lamp_id) == 0


def test_an_event_in_the_hands_of_two_at_once_has_one_effect():
    received = message()
    start = threading.Barrier(2)
    outcomes = []

    def receive():
        try:
            start.wait()
            outcomes.append(process_once(received, light))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=receive) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == [False, True]
    assert times_lit(received.event.lamp_id) == 1
