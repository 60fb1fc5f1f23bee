from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection
from prometheus_client import REGISTRY

from apps.core.errors import NotSignedIn
from apps.payments import selectors, services
from apps.payments.gateway import ProviderRefused, ProviderUnsure
from apps.payments.models import (
    OrderAlreadyPaid,
    OrderCancelledAlready,
    OrderExpiredAlready,
    Payment,
    PaymentAttempt,
)
from apps.payments.tests.factories import (
    BUYER,
    NOW,
    make_order,
    order_cancelled,
    payment_of,
)
from apps.payments.tests.sandbox import eventually
from apps.payments.tests.steps import close, facts_of, last, pay, settle

pytestmark = pytest.mark.django_db(transaction=True)

Status = PaymentAttempt.Status


def test_an_order_is_paid_by_one_charge(sandbox) -> None:
    order = make_order()

    attempt = pay(order, sandbox.gateway())

    assert attempt.status == Status.SUCCEEDED
    assert payment_of(order).state == Payment.State.PAID
    [charge] = sandbox.charges_of(order.order_id)
    assert (charge.amount, charge.currency) == (1250, "usd")
    assert charge.metadata["payment_id"] == str(attempt.pk)
    assert facts_of(order) == ["started", "succeeded"]


def test_a_payment_method_may_stand_for_the_token(sandbox) -> None:
    assert pay(make_order(), sandbox.gateway(), "pm_card_mastercard").status == Status.SUCCEEDED


def test_a_declined_card_is_told_in_the_providers_words_and_another_may_follow(sandbox) -> None:
    order = make_order()

    with pytest.raises(services.PaymentDeclined, match="insufficient funds") as caught:
        pay(order, sandbox.gateway(), "tok_chargeDeclinedInsufficientFunds")
    assert caught.value.error_code == "insufficient_funds"
    paid = pay(order, sandbox.gateway())

    assert paid.attempt == 2
    assert len(sandbox.charges_of(order.order_id)) == 1
    assert facts_of(order) == ["started", "failed", "started", "succeeded"]


def test_failed_payments_are_counted_by_their_reason(sandbox) -> None:
    def failures() -> float:
        labels = {"code": "insufficient_funds"}
        return REGISTRY.get_sample_value("payment_failures_total", labels) or 0

    before = failures()
    with pytest.raises(services.PaymentDeclined):
        pay(make_order(), sandbox.gateway(), "tok_chargeDeclinedInsufficientFunds")

    assert failures() == before + 1


def test_the_same_declined_card_can_be_tried_again_as_a_new_attempt(sandbox) -> None:
    """alf.io's keys were the reservation's: a retry was refused as a reuse of the key."""
    order = make_order()

    for _ in range(3):
        with pytest.raises(services.PaymentDeclined):
            pay(order, sandbox.gateway(), "tok_chargeDeclined")

    assert payment_of(order).attempts == 3


@pytest.mark.parametrize("method", ["tok_typo", "pm_typo", "garbage", "tok_ü", "<script>"])
def test_an_unknown_token_is_refused_and_the_order_stays_payable(sandbox, method: str) -> None:
    order = make_order()

    with pytest.raises(services.PaymentDeclined, match="No such"):
        pay(order, sandbox.gateway(), method)

    assert pay(order, sandbox.gateway()).status == Status.SUCCEEDED


def test_an_amount_that_the_provider_does_not_take_is_told(sandbox) -> None:
    order = make_order(price_cents=49)

    with pytest.raises(services.PaymentDeclined, match=r"at least \$0\.50"):
        pay(order, sandbox.gateway())


@pytest.mark.parametrize("method", ["tok_visa", "pm_card_visa"])
def test_twenty_concurrent_payments_of_one_order_end_in_one_charge(sandbox, method: str) -> None:
    order = make_order()
    gateway = sandbox.gateway()

    def attempt(_number: int) -> str:
        try:
            return str(pay(order, gateway, method).status)
        except OrderAlreadyPaid as refusal:
            return refusal.error_code
        finally:
            connection.close()

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(attempt, range(20)))

    assert len(sandbox.charges_of(order.order_id)) == 1
    assert set(answers) <= {"succeeded", "pending", "order_already_paid"}
    assert payment_of(order).attempts == 1
    assert payment_of(order).state == Payment.State.PAID
    assert facts_of(order) == ["started", "succeeded"]


def test_a_second_click_joins_the_attempt_that_is_open(fake) -> None:
    order = make_order()
    fake.answers["confirm_intent"] = [("after", ProviderUnsure("no answer"))]

    first = pay(order, fake)
    second = pay(order, fake, "tok_mastercard")

    assert (first.status, second.status) == (Status.PENDING, Status.SUCCEEDED)
    assert first.pk == second.pk
    assert len(fake.charges) == 1


def test_a_second_click_during_a_slow_payment_neither_charges_again_nor_ends_the_first(
    sandbox,
) -> None:
    order = make_order()
    gateway = sandbox.gateway()
    sandbox.fault("delay", operation="confirm_intent", seconds=1)

    def first_click() -> PaymentAttempt:
        try:
            return pay(order, gateway)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as other:
        first = other.submit(first_click)
        eventually(lambda: not sandbox.control("GET", "faults"))
        second = pay(order, gateway)
        assert second.status == Status.PENDING
        assert second.settle_at == NOW + timedelta(seconds=10)
        assert first.result().status == Status.SUCCEEDED

    assert len(sandbox.charges_of(order.order_id)) == 1


def test_a_payment_repeated_after_its_success_is_refused_and_not_charged(fake) -> None:
    order = make_order()
    pay(order, fake)

    with pytest.raises(OrderAlreadyPaid):
        pay(order, fake)

    assert len(fake.charges) == 1


@pytest.mark.parametrize("operation", ["create_method", "create_intent", "confirm_intent"])
@pytest.mark.parametrize("lost", ["request", "answer"])
def test_an_answer_that_did_not_come_is_not_a_failure(fake, operation: str, lost: str) -> None:
    order = make_order()
    timeout = ProviderUnsure("timeout")
    fake.answers[operation] = [("after", timeout) if lost == "answer" else timeout]

    attempt = pay(order, fake)

    assert attempt.status == Status.PENDING
    assert attempt.settle_at == NOW + timedelta(seconds=1)
    assert attempt.last_error == "timeout"
    assert facts_of(order) == ["started"]


def test_a_refusal_of_the_intent_is_a_failure(fake) -> None:
    order = make_order()
    fake.answers["create_intent"] = [ProviderRefused("amount_too_small", "Too little.")]

    with pytest.raises(services.PaymentDeclined, match="Too little"):
        pay(order, fake)

    assert facts_of(order) == ["started", "failed"]


def test_an_attempt_that_the_settler_has_taken_is_not_driven_again(fake) -> None:
    order = make_order()
    fake.answers["create_intent"] = [ProviderUnsure("timeout")]
    pay(order, fake)
    fake.calls.clear()

    later = pay(order, fake, clock=lambda: NOW + timedelta(seconds=2))

    assert later.status == Status.PENDING
    assert fake.calls == []


def test_an_attempt_that_was_settled_meanwhile_is_not_confirmed(fake) -> None:
    """Between the intent and its confirmation the settler gives the attempt up."""
    order = make_order()

    class Slow(type(fake)):
        def create_intent(self, **fields: Any) -> Any:
            intent = super().create_intent(**fields)
            attempt = selectors.find_last_attempt(order_id=order.order_id)
            services.fail_attempt(
                payment_id=str(attempt.pk), code="not_confirmed", message="Gone.", now=NOW
            )
            return intent

    slow = Slow()
    with pytest.raises(services.PaymentDeclined, match="Gone"):
        pay(order, slow)

    assert "confirm_intent" not in slow.calls
    assert selectors.find_last_attempt(order_id=order.order_id).intent_id == ""


def test_only_the_buyer_pays(fake) -> None:
    order = make_order()

    with pytest.raises(NotSignedIn):
        pay(order, fake, buyer_id="somebody else")
    with pytest.raises(selectors.PaymentNotFound):
        pay(order, fake, order_id="nothing")

    assert fake.calls == []


def test_an_expired_order_is_not_paid_even_before_anybody_says_so(fake) -> None:
    order = make_order()

    with pytest.raises(OrderExpiredAlready):
        pay(order, fake, clock=lambda: order.expires_at)

    assert fake.calls == []


def test_a_cancelled_order_is_not_paid(fake) -> None:
    order = make_order()
    services.close_payment(order=order_cancelled(order), reason=Payment.Reason.CANCELLED, now=NOW)

    with pytest.raises(OrderCancelledAlready):
        pay(order, fake)


def test_an_order_is_noted_once_and_stays_as_it_was_noted() -> None:
    order = make_order()

    again = services.record_order(order=order, now=NOW + timedelta(hours=1))

    assert again.created_at == NOW
    assert Payment.objects.filter(pk=order.order_id).count() == 1


def test_other_money_than_was_asked_for_pays_nothing_and_goes_back(fake) -> None:
    order = make_order()
    fake.amount = 1

    with pytest.raises(services.PaymentDeclined, match="goes back"):
        pay(order, fake)

    surplus = last(order)
    assert (surplus.status, surplus.amount_cents) == (Status.SUCCEEDED, 1)
    assert payment_of(order).state == Payment.State.OPEN
    assert facts_of(order) == ["started", "succeeded"]
    fake.amount = 0
    assert pay(order, fake).attempt == 2
    # Orders sees the amount in the event, and asks for it back.
    services.request_refund(payment_id=str(surplus.pk), reason="Not the price.", now=NOW)
    settle(fake)
    assert fake.refunds == [surplus.intent_id]
    assert payment_of(order).state == Payment.State.PAID
    assert services.check_ledger() == []


def test_other_money_does_not_hold_an_order_that_ends(fake) -> None:
    order = make_order()
    fake.amount, fake.answers["confirm_intent"] = 1, [("after", ProviderUnsure("no answer"))]
    pay(order, fake)
    close(order)

    settle(fake)

    assert payment_of(order).state == Payment.State.CLOSED
    assert facts_of(order) == ["started", "succeeded", "closed"]


def test_the_database_itself_refuses_a_second_open_attempt() -> None:
    order = make_order()
    fields = {
        "order_id": order.order_id,
        "buyer_id": BUYER,
        "amount_cents": 1,
        "currency": "usd",
        "method": "tok_visa",
        "started_at": NOW,
    }
    PaymentAttempt.objects.create(attempt=1, **fields)

    with pytest.raises(IntegrityError):
        PaymentAttempt.objects.create(attempt=2, **fields)
    PaymentAttempt.objects.filter(order_id=order.order_id).update(status=Status.FAILED)
    PaymentAttempt.objects.create(attempt=2, **fields)
    with pytest.raises(IntegrityError):
        PaymentAttempt.objects.create(attempt=1, status=Status.FAILED, **fields)
