from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.outbox import membership, metrics
from apps.outbox.failures import LeaseLost
from apps.outbox.kafka import Sender
from apps.outbox.models import OutboxEvent, RelayMember, RelaySlot
from apps.outbox.slots import SLOTS
from apps.outbox.stores import Settlement, open_store
from apps.outbox.tests.sending import drain, event_class, publish_all, versions_of, wait_for

pytestmark = pytest.mark.django_db(transaction=True)

State = OutboxEvent.State
ALL = range(SLOTS)


def row(event_id):
    return OutboxEvent.objects.get(pk=event_id)


def expire(owner):
    """Let the time of a relay be over, as if it had stood still for long."""
    over = timezone.now() - timedelta(hours=1)
    assert RelayMember.objects.filter(owner=owner).update(expires_at=over) == 1


def balanced(*relays):
    """Let the relays look around until each has its share."""

    def is_balanced():
        for relay in relays:
            relay.run_once()
        shares = [set(relay.slots) for relay in relays]
        return all(len(each) == SLOTS // len(relays) for each in shares) and set.union(
            *shares
        ) == set(ALL)

    wait_for(is_balanced)


def test_relays_divide_the_slots_and_keep_each_keys_order(sending):
    first, second = sending.relay(batch=7), sending.relay(batch=7)
    balanced(first, second)
    for version in (1, 2, 3):
        publish_all(*[sending.opened(f"gate-{n}", version) for n in range(20)])

    drain(first)
    drain(second)

    assert versions_of(sending.records(count=60)) == {f"gate-{n}": [1, 2, 3] for n in range(20)}
    assert not set(first.slots) & set(second.slots)


def test_slots_of_a_relay_that_leaves_go_to_the_others_at_once(sending):
    first, second = sending.relay(), sending.relay()
    balanced(first, second)

    second.close()

    wait_for(lambda: first.run_once() or len(first.slots) == SLOTS)
    assert RelayMember.objects.count() == 1


def test_slots_of_a_relay_that_died_go_to_the_others_with_a_new_epoch(sending):
    store = open_store()
    store.join("dead", 3600)
    assert store.share_out("dead", 3600, ALL).orphans == frozenset()
    expire("dead")
    relay = sending.relay()

    wait_for(lambda: relay.run_once() or len(relay.slots) == SLOTS)

    assert not RelayMember.objects.filter(owner="dead").exists()
    assert set(RelaySlot.objects.values_list("epoch", flat=True)) == {2}


def test_slot_is_never_taken_from_a_living_relay():
    store = open_store()
    store.join("first", 60)
    store.join("second", 60)

    assert store.share_out("first", 60, ALL).slots == tuple(ALL)
    assert store.share_out("second", 60, ALL).slots == ()
    assert store.share_out("first", 60, range(10)).slots == tuple(range(10))
    taken = store.share_out("second", 60, ALL)

    assert taken.slots == tuple(range(10, SLOTS))
    assert not taken.orphans
    assert not store.evict("first")


def test_relay_that_others_removed_can_change_nothing(sending):
    [event_id] = publish_all(sending.opened("north"))
    store = open_store()
    store.join("late", 60)
    expire("late")

    assert store.evict("late")
    for attempt in (
        lambda: store.settle("late", 60, Settlement(published=[event_id])),
        lambda: store.renew("late", 60),
        lambda: store.share_out("late", 60, ALL),
    ):
        with pytest.raises(LeaseLost):
            attempt()

    assert row(event_id).state == State.PENDING
    assert not RelaySlot.objects.filter(owner="late").exists()


class PausedSender(Sender):
    """Stands still between Kafka's acknowledgement and the relay's mark, as a stopped process."""

    def __init__(self, meanwhile, **options):
        super().__init__(timeout=30.0, **options)
        self._meanwhile = meanwhile

    def land(self, flight, *, waiting):
        results = super().land(flight, waiting=waiting)
        if self._meanwhile is not None:
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile()
        return results


def test_relay_that_wakes_up_late_marks_nothing_and_its_successor_repeats_nothing(sending):
    event_ids = sending.publish_run("north", [1, 2, 3])
    successor = sending.relay()
    lost = metrics.lease_lost._value.get()

    def take_over():
        expire(RelayMember.objects.get().owner)
        wait_for(lambda: successor.run_once() or len(successor.slots) == SLOTS)
        # What the late relay must not touch.
        OutboxEvent.objects.filter(pk__in=event_ids).update(last_error="the successor's")
        sending.publish_run("north", [4])

    late = sending.relay(sender=PausedSender(take_over))

    with pytest.raises(LeaseLost):
        late.run_once()
    drain(successor)
    balanced(late, successor)

    assert metrics.lease_lost._value.get() == lost + 1
    assert versions_of(sending.records(count=4)) == {"north": [1, 2, 3, 4]}
    assert {row(each).last_error for each in event_ids} == {"the successor's"}
    assert {row(each).state for each in event_ids} == {State.PUBLISHED}


def test_what_a_fenced_relay_had_begun_never_appears(sending):
    """Stopped with a transaction open, as the broker knows it."""
    sending.publish_run("north", [1, 2, 3])
    successor = sending.relay(sender=Sender(timeout=30.0, is_fenced=True))

    class StoppedSender(Sender):
        def land(self, flight, *, waiting):
            self._producer.flush(30)
            expire(RelayMember.objects.get().owner)
            wait_for(lambda: successor.run_once() or len(successor.slots) == SLOTS)
            drain(successor)
            return super().land(flight, waiting=waiting)

    late = sending.relay(sender=StoppedSender(timeout=30.0, is_fenced=True))

    with pytest.raises(LeaseLost):
        late.run_once()

    assert versions_of(sending.records(count=3)) == {"north": [1, 2, 3]}


def test_rows_that_a_dead_relay_sent_and_could_not_mark_are_not_sent_again(sending):
    published = sending.publish_run("north", [1, 2, 3])
    first = sending.relay()
    drain(first)
    first.close()
    OutboxEvent.objects.filter(pk__in=published[1:]).update(state=State.PENDING)
    sending.publish_run("north", [4])
    RelaySlot.objects.update(owner="dead")
    repeated = metrics.published.labels(sending.topic, "repeated", "")._value

    drain(sending.relay())

    assert versions_of(sending.records(count=4)) == {"north": [1, 2, 3, 4]}
    assert repeated.get() == 2
    assert {row(each).state for each in published} == {State.PUBLISHED}


def test_tail_that_cannot_be_read_costs_no_event(sending):
    elsewhere = event_class(f"{sending.topic}-missing")
    sending.register(elsewhere.topic)
    [event_id] = publish_all(elsewhere(gate_id="lost"))
    [other] = publish_all(sending.opened("north"))
    store = open_store()
    store.join("dead", 3600)
    store.share_out("dead", 3600, ALL)
    expire("dead")

    relay = sending.relay()
    wait_for(lambda: relay.run_once() or row(other).state == State.PUBLISHED)

    assert row(event_id).state == State.PENDING


def test_shares_are_even_and_cover_all_slots():
    for count in range(1, 9):
        names = [str(n) for n in range(count)]
        shares = [membership.share_of(name, names) for name in names]
        assert [slot for share in shares for slot in share] == list(ALL)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_who_is_not_among_the_living_has_lost_the_lease():
    with pytest.raises(LeaseLost):
        membership.share_of("late", ["first", "second"])
