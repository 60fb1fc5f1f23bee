"""What operators do to parked records, while consumers are at work."""

from __future__ import annotations

import uuid

import pytest

from apps.outbox import actions
from apps.outbox.actions import NotWaiting
from apps.outbox.dead_letters import ReasonMissing
from apps.outbox.lanes import Patience
from apps.outbox.models import DeadLetter, OperatorAction, ParkedRecord, ReceivedEvent
from apps.outbox.tests.operating import a_parked_record
from apps.outbox.tests.receiving import Crowd, light, read_until, times_lit
from apps.outbox.tests.sending import in_threads

pytestmark = pytest.mark.django_db(transaction=True)

NEVER = Patience(attempts=1, delays=(3600,), deadline=36_000)
WHO = "anna@example.com"


@pytest.fixture
def crowd(bench):
    crowd = Crowd(bench)
    yield crowd
    crowd.close()


def parked(bench):
    return list(ParkedRecord.objects.filter(group=bench.group).order_by("offset"))


class Refuses:
    """A handler that refuses the first version of a lamp until it is mended."""

    def __init__(self):
        self.is_broken = True

    def __call__(self, event):
        if event.version == 1 and self.is_broken:
            raise ValueError("broken")
        light(event)


def test_a_parked_record_is_tried_again_at_once(bench, crowd):
    lamp, handler = uuid.uuid4().hex, Refuses()
    bench.send_version(lamp, 1)
    bench.send_version(lamp, 2)
    consumer = crowd.add(handler, NEVER)
    read_until(consumer, lambda: len(parked(bench)) == 2)
    head, behind = parked(bench)

    handler.is_broken = False
    actions.retry_parked(head.pk, by=WHO)
    with pytest.raises(NotWaiting, match="waits behind another"):
        actions.retry_parked(behind.pk, by=WHO)
    read_until(consumer, lambda: times_lit(lamp) == 2)

    [action] = OperatorAction.objects.filter(target=f"parked/{head.pk}")
    assert (action.by, action.action) == (WHO, "retry_now")


def test_a_discarded_record_lets_its_key_go_on_and_stays_to_be_seen(bench, crowd):
    lamp = uuid.uuid4().hex
    event_id = bench.send_version(lamp, 1)
    bench.send_version(lamp, 2)
    consumer = crowd.add(Refuses(), NEVER)
    read_until(consumer, lambda: len(parked(bench)) == 2)

    actions.discard_parked(parked(bench)[0].pk, by=WHO, reason="a test")
    read_until(consumer, lambda: times_lit(lamp) == 1)

    assert parked(bench) == []
    [letter] = DeadLetter.objects.filter(group=bench.group)
    assert (letter.state, letter.event_id) == (DeadLetter.State.DISCARDED, event_id)
    assert (letter.error_kind, letter.resolution) == ("handler", "a test")
    assert (letter.offset, bytes(letter.value)) == (0, bench.value(lamp, 1))


def test_a_record_that_is_discarded_while_it_is_handled_has_no_effect(bench, crowd):
    lamp, handler = uuid.uuid4().hex, Refuses()
    first = bench.send_version(lamp, 1)

    def handle(event):
        handler(event)
        if parked(bench):
            in_threads(lambda: actions.discard_parked(parked(bench)[0].pk, by=WHO, reason="x"))

    consumer = crowd.add(handle, NEVER)
    read_until(consumer, lambda: len(parked(bench)) == 1)
    handler.is_broken = False
    actions.retry_parked(parked(bench)[0].pk, by=WHO)
    read_until(consumer, lambda: not parked(bench))
    second = bench.send_version(lamp, 2)
    read_until(consumer, lambda: was_received(bench, second))

    assert not was_received(bench, first)
    assert times_lit(lamp) == 1
    [letter] = DeadLetter.objects.filter(group=bench.group)
    assert letter.state == DeadLetter.State.DISCARDED


def was_received(bench, event_id):
    return ReceivedEvent.objects.filter(pk=f"{bench.group}/{event_id}").exists()


def test_what_is_parked_no_more_is_left_alone():
    with pytest.raises(NotWaiting, match="parked no more"):
        actions.discard_parked("readers/test.gates/0/7", by=WHO, reason="x")
    with pytest.raises(NotWaiting, match="parked no more"):
        actions.retry_parked("readers/test.gates/0/7", by=WHO)

    assert not OperatorAction.objects.exists()


def test_no_parked_record_is_discarded_without_a_reason():
    record = a_parked_record(error_message="ValueError: no")

    with pytest.raises(ReasonMissing):
        actions.discard_parked(record.pk, by=WHO, reason=" ")

    assert ParkedRecord.objects.filter(pk=record.pk).exists()
