from __future__ import annotations

import pytest

from apps.expiration.models import Deadline, DeadlineNotDue
from apps.expiration.tests.factories import AFTER, BEFORE, NOON


@pytest.mark.parametrize(
    ("state", "now", "is_due"),
    [
        (Deadline.State.ARMED, BEFORE, False),
        (Deadline.State.ARMED, NOON, True),
        (Deadline.State.ARMED, AFTER, True),
        (Deadline.State.FIRED, AFTER, False),
        (Deadline.State.FORGOTTEN, AFTER, False),
    ],
)
def test_only_an_armed_deadline_whose_time_has_come_is_due(state, now, is_due):
    deadline = Deadline(order_id="o-1", expires_at=NOON, state=state)

    assert deadline.is_due(now) is is_due


def test_deadline_cannot_fire_early():
    deadline = Deadline(order_id="o-1", expires_at=NOON)

    with pytest.raises(DeadlineNotDue):
        deadline.fire(now=BEFORE)


def test_deadline_reads_as_order_state_and_time():
    deadline = Deadline(order_id="o-1", expires_at=NOON)

    assert str(deadline) == "o-1 armed 2026-11-23 12:00:00"
