"""Deadlines of orders: the only writer of Deadline."""

from __future__ import annotations

import logging
from datetime import datetime
from functools import partial

from apps.expiration.events import ExpirationCompleted
from apps.expiration.gateway import alarm_clock
from apps.expiration.models import Deadline
from apps.expiration.selectors import find_deadline, list_overdue
from apps.outbox import tracing
from apps.outbox.context import Trace, current_trace
from apps.outbox.publish import publish
from apps.outbox.transactions import on_commit, transactional

SWEEP_BATCH = 500

logger = logging.getLogger(__name__)


@transactional
def set_deadline(*, order_id: str, expires_at: datetime) -> None:
    """Remember until when the order can be paid, and set the alarm once that is committed.

    An order whose deadline is known already keeps it: the event came twice, or came after the
    order's end (a redriven dead letter), which must not arm it again.
    """
    if find_deadline(order_id) is not None:
        return
    trace = current_trace()
    Deadline.objects.create(
        order_id=order_id,
        expires_at=expires_at,
        correlation_id=trace.correlation_id,
        causation_id=trace.causation_id,
        traceparent=trace.traceparent,
    )
    on_commit(partial(alarm_clock.set, order_id=order_id, expires_at=expires_at))


@transactional
def fire_deadline(*, order_id: str, now: datetime) -> bool:
    """Publish ExpirationCompleted if the order's deadline has passed, and return whether it did.

    Safe to call early, late, twice and from several workers at once: only the call that turns the
    armed and overdue document to fired publishes, in the same transaction. Alarms come early when
    clocks differ, late when a worker was down, and again when Redis hands a task to two workers.
    """
    deadline = find_deadline(order_id)
    if deadline is None or not deadline.is_due(now):
        return False
    deadline.fire(now=now)
    begun = Trace(
        correlation_id=deadline.correlation_id,
        causation_id=deadline.causation_id,
        traceparent=deadline.traceparent,
    )
    with tracing.resuming("fire deadline", begun, order_id=order_id):
        publish(
            ExpirationCompleted(order_id=order_id, expires_at=deadline.expires_at, fired_at=now)
        )
    return True


@transactional
def forget_deadline(*, order_id: str, expires_at: datetime, now: datetime) -> None:
    """Disarm the deadline of an order that was paid or cancelled; one that fired stays fired.

    An order never heard of is noted as forgotten, so that its OrderCreated, should it still come
    out of the dead letters, does not arm a deadline that nothing would disarm.
    """
    deadline = find_deadline(order_id)
    if deadline is None:
        deadline = Deadline.objects.create(order_id=order_id, expires_at=expires_at)
    if deadline.is_armed:
        deadline.forget(now=now)


def sweep_deadlines(*, now: datetime) -> int:
    """Fire every overdue deadline, each in its own transaction, and return how many fired.

    This catches what Redis lost: the alarm was never set, was wiped, or found no worker.
    """
    fired = 0
    while overdue := list_overdue(now=now, limit=SWEEP_BATCH):
        for order_id in overdue:
            fired += fire_deadline(order_id=order_id, now=now)
    if fired:
        logger.info("The sweep fired %d deadlines whose alarm had not rung.", fired)
    return fired
