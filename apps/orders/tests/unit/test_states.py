"""docs/states.md says what the code does."""

from __future__ import annotations

from itertools import product

import pytest

from apps.core.errors import Conflict
from apps.orders.models import Order
from apps.orders.tests.factories import NOON, make_order
from tests.states import transitions_of

TABLE = transitions_of("Order")
PAID = "cancelled (paid)"
STATES = (*Order.Status.values, PAID)
ARGUMENTS = {
    "await_payment": {},
    "complete": {"payment_id": "p1", "now": NOON},
    "revive": {"payment_id": "p1", "now": NOON},
    "expire": {"now": NOON},
    "cancel": {"reason": Order.CancelReason.BUYER, "now": NOON},
    "cancel_paid": {"reason": Order.CancelReason.BUYER, "now": NOON},
    "use": {"now": NOON},
}


def order_in(state):
    is_paid = state in {PAID, Order.Status.COMPLETE}
    return make_order(status=state.partition(" ")[0], payment_id="p0" if is_paid else "")


def state_of(order):
    return PAID if order.is_cancelled and order.was_paid else order.status


def test_the_table_knows_every_state_and_transition():
    assert {state for state, _ in TABLE} | set(TABLE.values()) == set(STATES)
    assert {transition for _, transition in TABLE} == set(ARGUMENTS)


@pytest.mark.parametrize(("state", "transition"), [*product(STATES, ARGUMENTS)])
def test_an_order_goes_where_the_table_says_and_nowhere_else(state, transition):
    order = order_in(state)
    step = getattr(order, transition)

    if (state, transition) in TABLE:
        step(**ARGUMENTS[transition])

        assert state_of(order) == TABLE[state, transition]
    else:
        with pytest.raises(Conflict):
            step(**ARGUMENTS[transition])

        assert state_of(order) == state
