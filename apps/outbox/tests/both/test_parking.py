"""ordering=key: what waits behind a record that failed, and when it goes on."""

from __future__ import annotations

import uuid

import pytest
from django.utils import timezone

from apps.outbox.failures import Unavailable
from apps.outbox.lanes import Patience
from apps.outbox.models import DeadLetter, ParkedRecord
from apps.outbox.tests.receiving import (
    Crowd,
    light,
    read_until,
    times_lit,
)

pytestmark = pytest.mark.django_db(transaction=True)

PATIENT = Patience(attempts=1, first_delay=0.02, longest_delay=0.05, delays=(1, 1))
NEVER = Patience(attempts=1, delays=(3600,), deadline=36_000)


@pytest.fixture
def crowd(bench):
    crowd = Crowd(bench)
    yield crowd
    crowd.close()


def parked(bench):
    return list(ParkedRecord.objects.filter(group=bench.group).order_by("offset"))


def let_go(bench):
    """Do what an operator does who wants the parked records tried at once."""
    ParkedRecord.objects.filter(group=bench.group).update(due_at=timezone.now())


class Broken:
    """A handler that fails for one lamp until it is mended, and remembers what it was given."""

    def __init__(self, lamp):
        self.lamp = lamp
        self.is_broken = True
        self.seen = []

    def __call__(self, event):
        self.seen.append((event.lamp_id, event.version))
        if event.lamp_id == self.lamp and self.is_broken:
            raise ValueError("broken")
        light(event)

    def versions(self):
        return [version for lamp, version in self.seen if lamp == self.lamp]


def test_a_blocked_key_waits_while_the_others_go_on_and_is_released_in_order(bench, crowd):
    lamp = uuid.uuid4().hex
    for version in range(1, 6):
        bench.send_version(lamp, version)
    other = bench.send_lamp()
    handler = Broken(lamp)
    consumer = crowd.add(handler, NEVER)

    read_until(consumer, lambda: times_lit(other) == 1 and len(parked(bench)) == 5)
    rows = parked(bench)
    tries_while_blocked = handler.versions()
    handler.is_broken = False
    let_go(bench)
    read_until(consumer, lambda: times_lit(lamp) == 5)

    assert tries_while_blocked == [1]
    assert [bool(row.error_message) for row in rows] == [True, False, False, False, False]
    assert handler.versions() == [1, 1, 2, 3, 4, 5]
    assert parked(bench) == []
    bench.send_version(lamp, 6)
    read_until(consumer, lambda: times_lit(lamp) == 6)


def test_a_parked_record_is_tried_again_by_itself_when_it_is_due(bench, crowd):
    lamp = bench.send_lamp()
    handler = Broken(lamp)

    def mend_after_the_second_try(event):
        handler.is_broken = len(handler.seen) < 2
        handler(event)

    consumer = crowd.add(mend_after_the_second_try, PATIENT)

    read_until(consumer, lambda: times_lit(lamp) == 1 and not parked(bench))

    assert len(handler.seen) == 3
    assert not DeadLetter.objects.filter(group=bench.group).exists()


def test_when_the_first_has_had_all_its_tries_it_is_a_dead_letter_and_its_key_goes_on(bench, crowd):
    lamp = uuid.uuid4().hex
    for version in range(1, 4):
        bench.send_version(lamp, version)

    def refuse_the_first(event):
        if event.version == 1:
            raise ValueError("never")
        light(event)

    consumer = crowd.add(refuse_the_first, PATIENT)

    read_until(consumer, lambda: times_lit(lamp) == 2 and not parked(bench))

    [letter] = DeadLetter.objects.filter(group=bench.group)
    assert (letter.attempts, letter.offset, letter.topic) == (3, 0, bench.topic)
    assert len(bench.records(bench.dlq)) == 1


def test_a_record_is_put_off_no_more_when_its_deadline_is_over(bench, crowd):
    bench.send_lamp()

    def fail(_event):
        raise ValueError("never")

    patience = Patience(attempts=1, delays=(1, 3600), deadline=0.5)
    consumer = crowd.add(fail, patience)

    read_until(consumer, lambda: DeadLetter.objects.filter(group=bench.group).exists())

    assert parked(bench) == []


def test_an_outage_in_the_midst_of_a_parked_try_spends_no_attempt(bench, crowd):
    lamp = bench.send_lamp()
    failures = [ValueError("broken"), *[Unavailable("away")] * 4]

    def fail_a_few_times(event):
        if failures:
            raise failures.pop(0)
        light(event)

    consumer = crowd.add(fail_a_few_times, Patience(attempts=1, first_delay=0.02, delays=(1,)))

    read_until(consumer, lambda: times_lit(lamp) == 1)

    assert failures == []
    assert not DeadLetter.objects.filter(group=bench.group).exists()


def test_a_record_without_a_key_holds_up_nobody(bench, crowd):
    lamp, other = uuid.uuid4().hex, uuid.uuid4().hex
    bench.send(bench.value(lamp), key=None)
    bench.send(bench.value(other), key=None)
    consumer = crowd.add(Broken(lamp), NEVER)

    read_until(consumer, lambda: times_lit(other) == 1)

    assert len(parked(bench)) == 1


def test_what_was_parked_is_known_to_the_next_consumer(bench, crowd):
    lamp = uuid.uuid4().hex
    bench.send_version(lamp, 1)
    handler = Broken(lamp)
    first = crowd.add(handler, NEVER)
    read_until(first, lambda: len(parked(bench)) == 1)
    crowd.remove(first)

    bench.send_version(lamp, 2)
    second = crowd.add(handler, NEVER)
    read_until(second, lambda: len(parked(bench)) == 2)
    handler.is_broken = False
    let_go(bench)
    read_until(second, lambda: times_lit(lamp) == 2)

    assert handler.versions() == [1, 1, 2]


def test_a_parked_record_that_is_discarded_lets_its_key_go_on(bench, crowd):
    lamp = uuid.uuid4().hex
    bench.send_version(lamp, 1)
    bench.send_version(lamp, 2)

    def refuse_the_first(event):
        if event.version == 1:
            raise ValueError("never")
        light(event)

    consumer = crowd.add(refuse_the_first, NEVER)
    read_until(consumer, lambda: len(parked(bench)) == 2)
    ParkedRecord.objects.filter(pk=parked(bench)[0].pk).delete()
    read_until(consumer, lambda: times_lit(lamp) == 1)

    assert parked(bench) == []


def test_poison_behind_a_blocked_key_is_a_dead_letter_in_its_turn(bench, crowd):
    lamp = uuid.uuid4().hex
    bench.send_version(lamp, 1)
    bench.send(b"junk", key=lamp.encode())
    bench.send_version(lamp, 3)
    handler = Broken(lamp)
    consumer = crowd.add(handler, NEVER)
    read_until(consumer, lambda: len(parked(bench)) == 3)

    handler.is_broken = False
    let_go(bench)
    read_until(consumer, lambda: times_lit(lamp) == 2)

    [letter] = DeadLetter.objects.filter(group=bench.group)
    assert letter.error_kind == "not_avro"
