from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection

from apps.expiration import services
from apps.expiration.events import OrderCancelled, OrderCompleted, OrderCreated
from apps.expiration.handlers import HANDLERS
from apps.expiration.models import Deadline, DeadlineSettled
from apps.expiration.selectors import find_deadline, list_overdue
from apps.expiration.tests.factories import AFTER, BEFORE, NOON, make_event, make_order_id
from apps.outbox.context import Trace, traced
from apps.outbox.models import OutboxEvent

pytestmark = pytest.mark.django_db(transaction=True)

FIRED = Deadline.State.FIRED
FORGOTTEN = Deadline.State.FORGOTTEN


def receive(event):
    HANDLERS[type(event)](event)


def state_of(order_id):
    return Deadline.objects.get(pk=order_id).state


def list_published(order_id):
    return list(OutboxEvent.objects.filter(aggregate_type="expiration", aggregate_id=order_id))


def test_passed_deadline_is_published_once_with_its_time():
    event = make_event()
    receive(event)

    has_fired = services.fire_deadline(order_id=event.order_id, now=AFTER)

    [published] = list_published(event.order_id)
    assert has_fired
    assert state_of(event.order_id) == FIRED
    assert (published.topic, published.key) == ("ticketing.expiration", event.order_id)
    assert json.loads(bytes(published.payload)) == {
        "order_id": event.order_id,
        "version": 1,
        "expires_at": int(NOON.timestamp() * 1000),
        "fired_at": int(NOON.timestamp() * 1000) + 1,
    }


def test_passed_deadline_belongs_to_the_request_that_made_the_order():
    event = make_event()
    with traced(Trace(correlation_id="request-1")):
        receive(event)

    services.fire_deadline(order_id=event.order_id, now=AFTER)

    [published] = list_published(event.order_id)
    assert json.loads(published.headers)["ce_correlationid"] == "request-1"


def test_passed_deadline_is_caused_by_the_order_and_in_its_trace():
    event = make_event()
    begun = Trace(causation_id="event-1", traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
    with traced(begun):
        receive(event)

    with traced(Trace(traceparent=f"00-{'c' * 32}-{'d' * 16}-01")):
        services.fire_deadline(order_id=event.order_id, now=AFTER)

    headers = json.loads(list_published(event.order_id)[0].headers)
    assert headers["ce_causationid"] == "event-1"
    assert headers["traceparent"] == begun.traceparent


def test_early_alarm_does_nothing():
    event = make_event()
    receive(event)

    assert services.fire_deadline(order_id=event.order_id, now=BEFORE) is False

    assert state_of(event.order_id) == Deadline.State.ARMED
    assert list_published(event.order_id) == []


def test_alarm_of_an_unknown_order_does_nothing():
    order_id = make_order_id()

    assert services.fire_deadline(order_id=order_id, now=AFTER) is False

    assert find_deadline(order_id) is None


def test_second_alarm_of_a_deadline_does_nothing():
    event = make_event()
    receive(event)
    services.fire_deadline(order_id=event.order_id, now=AFTER)

    assert services.fire_deadline(order_id=event.order_id, now=AFTER) is False

    assert len(list_published(event.order_id)) == 1


def test_two_workers_with_the_same_alarm_fire_it_once():
    event = make_event()
    receive(event)
    start = threading.Barrier(4)

    def ring(_worker):
        start.wait(timeout=10)
        try:
            return services.fire_deadline(order_id=event.order_id, now=AFTER)
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=4) as workers:
        results = list(workers.map(ring, range(4)))

    assert sorted(results) == [False, False, False, True]
    assert len(list_published(event.order_id)) == 1


def test_deadline_that_is_settled_cannot_be_settled_again():
    event = make_event()
    receive(event)
    stale = Deadline.objects.get(pk=event.order_id)
    services.fire_deadline(order_id=event.order_id, now=AFTER)

    with pytest.raises(DeadlineSettled):
        stale.forget(now=AFTER)

    assert state_of(event.order_id) == FIRED


def test_redelivered_order_created_does_not_move_the_deadline():
    event = make_event()
    receive(event)

    receive(make_event(order_id=event.order_id, expires_at=NOON + timedelta(hours=1)))

    assert Deadline.objects.get(pk=event.order_id).expires_at == NOON


@pytest.mark.parametrize("ending", [OrderCancelled, OrderCompleted])
def test_order_that_ended_does_not_expire(ending):
    event = make_event()
    receive(event)

    receive(make_event(ending, order_id=event.order_id, version=2))

    assert services.fire_deadline(order_id=event.order_id, now=AFTER) is False
    assert state_of(event.order_id) == FORGOTTEN
    assert list_published(event.order_id) == []


def test_order_that_was_cancelled_already_is_not_expired_again_to_free_another_buyers_ticket():
    """Defect 13: the expiry of a cancelled order cancelled it again, and freed what was resold."""
    event = make_event()
    receive(event)
    receive(make_event(OrderCancelled, order_id=event.order_id, version=2))

    services.sweep_deadlines(now=AFTER)

    assert list_published(event.order_id) == []


@pytest.mark.parametrize("ending", [OrderCancelled, OrderCompleted])
def test_end_of_an_order_leaves_a_fired_deadline_alone(ending):
    event = make_event()
    receive(event)
    services.fire_deadline(order_id=event.order_id, now=AFTER)

    receive(make_event(ending, order_id=event.order_id, version=3))

    assert state_of(event.order_id) == FIRED


def test_order_created_that_comes_after_the_end_arms_nothing():
    event = make_event(OrderCancelled, version=2)
    receive(event)

    receive(make_event(OrderCreated, order_id=event.order_id))

    assert state_of(event.order_id) == FORGOTTEN
    assert services.fire_deadline(order_id=event.order_id, now=AFTER) is False


def test_sweep_fires_every_overdue_deadline_and_no_other(monkeypatch):
    monkeypatch.setattr(services, "SWEEP_BATCH", 2)
    overdue = [make_event(expires_at=NOON - timedelta(minutes=n)) for n in range(5)]
    later = make_event(expires_at=NOON + timedelta(seconds=1))
    for event in (*overdue, later):
        receive(event)

    fired = services.sweep_deadlines(now=NOON)

    assert fired == len(overdue)
    assert {state_of(event.order_id) for event in overdue} == {FIRED}
    assert state_of(later.order_id) == Deadline.State.ARMED


def test_overdue_deadlines_come_oldest_first():
    newer, oldest, old = (make_event(expires_at=NOON - timedelta(minutes=n)) for n in (1, 3, 2))
    for event in (newer, oldest, old):
        receive(event)

    overdue = list_overdue(now=NOON, limit=2)

    assert overdue == [oldest.order_id, old.order_id]


def test_sweep_reads_the_index_and_nothing_else():
    plan = Deadline.objects.filter(state=Deadline.State.ARMED, expires_at__lte=NOON)[:5].explain()

    assert "IXSCAN" in plan
    assert "COLLSCAN" not in plan
    assert "SORT" not in plan
