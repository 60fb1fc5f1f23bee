from __future__ import annotations

from datetime import timedelta

import pytest

from apps.payments.models import Payment, PaymentAttempt
from apps.payments.tests.factories import NOW
from apps.payments.web.forms import PayForm
from apps.payments.web.phase import Phase, tell_phase

State = Payment.State
Reason = Payment.Reason
LATER = NOW + timedelta(minutes=1)


@pytest.mark.parametrize(
    ("fields", "phase"),
    [
        ({}, Phase.PAYABLE),
        ({"expires_at": NOW}, Phase.EXPIRED),
        ({"active_payment_id": "a"}, Phase.CONFIRMING),
        ({"active_payment_id": "a", "expires_at": NOW}, Phase.CONFIRMING),
        (
            {"active_payment_id": "a", "state": State.CLOSING, "closed_because": Reason.EXPIRED},
            Phase.CONFIRMING,
        ),
        ({"state": State.CLOSED, "closed_because": Reason.EXPIRED}, Phase.EXPIRED),
        ({"state": State.CLOSED, "closed_because": Reason.CANCELLED}, Phase.CANCELLED),
        ({"state": State.PAID}, Phase.PAID),
        ({"state": State.PAID, "expires_at": NOW}, Phase.PAID),
        ({"state": State.REFUNDED}, Phase.REFUNDED),
    ],
)
def test_the_page_tells_where_the_payment_stands(fields, phase) -> None:
    payment = Payment(**{"order_id": "o", "expires_at": LATER, **fields})

    assert tell_phase(payment, now=NOW) == phase


def test_a_buyer_whom_the_bank_asks_is_sent_there_while_the_order_may_be_paid() -> None:
    asked = PaymentAttempt(action_url="https://bank.example/")
    payment = Payment(order_id="o", expires_at=LATER, active_payment_id="a")

    assert tell_phase(payment, asked, now=NOW) == Phase.AUTHENTICATING
    payment.state = State.CLOSING
    assert tell_phase(payment, asked, now=NOW) == Phase.CONFIRMING


def test_an_order_that_payments_has_not_heard_of_is_being_prepared() -> None:
    assert tell_phase(None, now=NOW) == Phase.PREPARING
    assert Phase.PREPARING.is_moving
    assert not Phase.PAYABLE.is_moving


def test_cards_of_the_sandbox_are_offered_there_alone() -> None:
    lost = {"card": "tok_sandboxLosesAnswer"}

    assert PayForm(lost, sandbox=True).is_valid()
    assert not PayForm(lost, sandbox=False).is_valid()
    assert PayForm(lost, sandbox=True).chosen == "tok_sandboxLosesAnswer"
    assert PayForm(sandbox=False).chosen == "tok_visa"


@pytest.mark.parametrize("card", ["", "4242424242424242", "tok_nope", "<b>"])
def test_anything_but_an_offered_card_is_refused(card: str) -> None:
    form = PayForm({"card": card}, sandbox=True)

    assert form.errors["card"] == ["Please choose one of the cards."]
