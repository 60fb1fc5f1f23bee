from __future__ import annotations

from datetime import timedelta

import pytest

from apps.payments import services
from apps.payments.gateway import ProviderRefused, ProviderUnsure
from apps.payments.models import Payment, PaymentAttempt
from apps.payments.tests.factories import (
    NOW,
    make_order,
    payment_of,
    refund_requested,
)
from apps.payments.tests.steps import MUCH_LATER, close, facts_of, last, pay, settle

pytestmark = pytest.mark.django_db(transaction=True)

Status = PaymentAttempt.Status


def test_a_refund_is_given_once_however_often_it_is_requested(sandbox) -> None:
    order = make_order()
    attempt = pay(order, sandbox.gateway())
    request = refund_requested(order, str(attempt.pk))

    for _ in range(2):
        services.request_refund(payment_id=request.payment_id, reason=request.reason, now=NOW)
    settle(sandbox.gateway())
    services.request_refund(payment_id=request.payment_id, reason=request.reason, now=NOW)
    settle(sandbox.gateway())

    [refund] = sandbox.client().refunds.list({"payment_intent": attempt.intent_id}).data
    assert refund.amount == 1250
    assert (last(order).status, last(order).refund_id) == (Status.REFUNDED, refund.id)
    assert payment_of(order).state == Payment.State.REFUNDED
    assert facts_of(order) == ["started", "succeeded", "refunded"]


@pytest.mark.parametrize("kind", ["timeout_before", "timeout_after", "error_after"])
def test_a_refund_whose_answer_was_lost_is_given_once(sandbox, kind: str) -> None:
    order = make_order()
    attempt = pay(order, sandbox.gateway())
    services.request_refund(payment_id=str(attempt.pk), reason="Sold meanwhile.", now=NOW)
    sandbox.fault(kind, operation="create_refund")

    settle(sandbox.gateway())
    assert last(order).status == Status.REFUND_DUE
    settle(sandbox.gateway(), MUCH_LATER + timedelta(hours=1))

    assert last(order).status == Status.REFUNDED
    assert len(sandbox.client().refunds.list({"payment_intent": attempt.intent_id}).data) == 1
    assert facts_of(order).count("refunded") == 1


def test_money_that_staff_gave_back_at_the_provider_is_not_given_back_again(sandbox) -> None:
    order = make_order()
    attempt = pay(order, sandbox.gateway())
    by_hand = sandbox.client().refunds.create({"payment_intent": attempt.intent_id})

    services.request_refund(payment_id=str(attempt.pk), reason="Sold meanwhile.", now=NOW)
    settle(sandbox.gateway())

    assert last(order).refund_id == by_hand.id


def test_a_refund_that_is_refused_stays_due_and_says_why(fake) -> None:
    order = make_order()
    attempt = pay(order, fake)
    services.request_refund(payment_id=str(attempt.pk), reason="Sold meanwhile.", now=NOW)
    fake.answers["refund_intent"] = [ProviderRefused("balance", "Not enough balance.")]

    settle(fake)

    assert (last(order).status, last(order).last_error) == (
        Status.REFUND_DUE,
        "Not enough balance.",
    )


def test_two_settlers_that_meet_over_a_refund_record_it_once(fake) -> None:
    order = make_order()
    attempt = pay(order, fake)
    services.request_refund(payment_id=str(attempt.pk), reason="Sold meanwhile.", now=NOW)

    for _ in range(2):
        services.record_refund(payment_id=str(attempt.pk), refund_id="re_1", now=NOW)

    assert facts_of(order).count("refunded") == 1


def test_the_late_success_of_an_attempt_that_was_given_up_is_recorded(fake) -> None:
    """It should not happen; if it does, the order may revive, or the money goes back."""
    order = make_order()
    fake.answers["confirm_intent"] = [ProviderUnsure("timeout")]
    attempt = pay(order, fake)
    close(order)
    settle(fake)
    assert payment_of(order).state == Payment.State.CLOSED

    intent = fake.put_status(attempt.intent_id, "succeeded")
    services.record_outcome(payment_id=str(attempt.pk), intent=intent, now=NOW)

    assert payment_of(order).state == Payment.State.PAID
    assert facts_of(order) == ["started", "failed", "closed", "succeeded"]
