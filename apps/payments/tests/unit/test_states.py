"""docs/states.md says what the code does."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product

import pytest

from apps.core.errors import Conflict
from apps.payments.gateway import Intent
from apps.payments.models import Payment, PaymentAttempt, Refund
from tests.states import table_of, transitions_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 3, 1, 13, tzinfo=UTC)
CENTS = 1500
PAYMENT, ATTEMPT, REFUND = map(transitions_of, ("Payment of an order", "Attempt to pay", "Refund"))
PAYMENT_STEPS = {
    "begin_attempt": ("p1", NOON),
    "stop": (Payment.Reason.EXPIRED,),
    "close": (),
    "succeed": ("p0",),
    "refund": ("p0",),
    "unrefund": ("p0",),
}
ATTEMPT_STEPS = {
    "succeed": (NOON,),
    "succeed_otherwise": (CENTS + 1, "usd", ("other_money", "Other money."), NOON),
    "fail": ("declined", "No.", NOON),
    "promise_refund": (CENTS, "A reason.", NOON),
    "refund": (CENTS, NOON),
    "unrefund": (CENTS,),
}
REFUND_STEPS = {"send": ("re_1",), "shrink": (100,), "succeed": (NOON,), "fail": ("No.", NOON)}
UNGUARDED = {"refund", "unrefund"}
"""Their callers come from a refund, whose own transition is guarded."""
SEEN_AS = ("is_paid", "is_cancelled", "is_declined", "needs_buyer", "is_under_way")


def payment_in(state):
    is_paid = state in {"paid", "refunded"}
    return Payment(
        order_id="o1",
        amount_cents=CENTS,
        expires_at=LATER,
        state=state,
        paid_payment_id="p0" if is_paid else "",
    )


def attempt_in(state):
    back = CENTS if state == "refunded" else 0
    return PaymentAttempt(
        order_id="o1", amount_cents=CENTS, status=state, promised_cents=back, refunded_cents=back
    )


def refund_in(state):
    return Refund(order_id="o1", payment_id="p0", amount_cents=CENTS, state=state, key="k")


@pytest.mark.parametrize(
    ("table", "states", "steps"),
    [
        (PAYMENT, Payment.State, PAYMENT_STEPS),
        (ATTEMPT, PaymentAttempt.Status, ATTEMPT_STEPS),
        (REFUND, Refund.State, REFUND_STEPS),
    ],
)
def test_the_tables_know_every_state_and_transition(table, states, steps):
    assert {state for state, _ in table} | set(table.values()) == set(states.values)
    assert {transition for _, transition in table} == set(steps)


def go(thing, transition, arguments, where):
    """Take a step; `where` is the state to be reached, or None if the step is to be refused."""
    if where is not None:
        getattr(thing, transition)(*arguments)
        assert state_of(thing) == where
    elif transition not in UNGUARDED:
        before = state_of(thing)
        with pytest.raises(Conflict):
            getattr(thing, transition)(*arguments)
        assert state_of(thing) == before


def state_of(thing):
    return thing.status if isinstance(thing, PaymentAttempt) else thing.state


@pytest.mark.parametrize(("state", "transition"), [*product(Payment.State.values, PAYMENT_STEPS)])
def test_a_payment_goes_where_the_table_says_and_nowhere_else(state, transition):
    thing = payment_in(state)

    go(thing, transition, PAYMENT_STEPS[transition], PAYMENT.get((state, transition)))


@pytest.mark.parametrize(
    ("state", "transition"), [*product(PaymentAttempt.Status.values, ATTEMPT_STEPS)]
)
def test_an_attempt_goes_where_the_table_says_and_nowhere_else(state, transition):
    thing = attempt_in(state)

    go(thing, transition, ATTEMPT_STEPS[transition], ATTEMPT.get((state, transition)))


@pytest.mark.parametrize(("state", "transition"), [*product(Refund.State.values, REFUND_STEPS)])
def test_a_refund_goes_where_the_table_says_and_nowhere_else(state, transition):
    thing = refund_in(state)

    go(thing, transition, REFUND_STEPS[transition], REFUND.get((state, transition)))


@pytest.mark.parametrize("row", table_of("Payment intent, at the provider"))
def test_an_intent_is_seen_as_the_table_says(row):
    intent = Intent(
        id="pi_1",
        status=row["status"],
        amount_cents=CENTS,
        currency="usd",
        failure_code="" if row["last error"] == "none" else row["last error"],
    )

    seen = [name for name in SEEN_AS if getattr(intent, name)] or ["nothing"]

    assert seen == [row["seen as"]]
