from __future__ import annotations

from datetime import timedelta

import pytest

from apps.payments.models import (
    OrderAlreadyPaid,
    OrderCancelledAlready,
    OrderExpiredAlready,
    Payment,
    PaymentAttempt,
    Refund,
    StripeEvent,
    TransitionRefused,
)
from apps.payments.tests.factories import NOW

State = Payment.State
Reason = Payment.Reason
Status = PaymentAttempt.Status


def payment(**fields) -> Payment:
    return Payment(
        **{
            "order_id": "o",
            "expires_at": NOW + timedelta(minutes=1),
            "amount_cents": 1250,
            "currency": "usd",
            **fields,
        }
    )


def attempt(**fields) -> PaymentAttempt:
    return PaymentAttempt(**{"order_id": "o", "attempt": 2, **fields})


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"state": State.PAID}, OrderAlreadyPaid),
        ({"state": State.REFUNDED}, OrderAlreadyPaid),
        ({"state": State.CLOSING, "closed_because": Reason.CANCELLED}, OrderCancelledAlready),
        ({"state": State.CLOSED, "closed_because": Reason.CANCELLED}, OrderCancelledAlready),
        ({"state": State.CLOSED, "closed_because": Reason.EXPIRED}, OrderExpiredAlready),
        ({"expires_at": NOW}, OrderExpiredAlready),
        ({"active_payment_id": "other"}, TransitionRefused),
    ],
)
def test_an_attempt_begins_only_while_the_order_may_be_paid(fields, refusal) -> None:
    with pytest.raises(refusal):
        payment(**fields).begin_attempt("a", NOW)


def test_a_payment_goes_from_its_attempt_to_paid_and_refunded() -> None:
    paid = payment()

    paid.begin_attempt("a", NOW)
    assert (paid.attempts, paid.active_payment_id) == (1, "a")
    paid.succeed("a")
    assert (paid.state, paid.active_payment_id, paid.paid_payment_id) == (State.PAID, "", "a")
    paid.refund("a")
    assert paid.state == State.REFUNDED
    paid.succeed("b")
    assert (paid.state, paid.paid_payment_id) == (State.REFUNDED, "a")


def test_a_surplus_that_goes_back_leaves_the_order_paid() -> None:
    paid = payment(state=State.PAID, paid_payment_id="a")

    paid.refund("b")

    assert paid.state == State.PAID


def test_after_a_failure_another_attempt_may_begin() -> None:
    open_payment = payment()
    open_payment.begin_attempt("a", NOW)

    open_payment.fail("a")
    open_payment.begin_attempt("b", NOW)

    assert (open_payment.attempts, open_payment.active_payment_id) == (2, "b")
    with pytest.raises(TransitionRefused):
        open_payment.fail("a")


def test_a_payment_closes_only_when_it_was_stopped_and_no_attempt_is_open() -> None:
    ending = payment()
    with pytest.raises(TransitionRefused):
        ending.close()
    ending.begin_attempt("a", NOW)

    ending.stop(Reason.EXPIRED)
    with pytest.raises(TransitionRefused):
        ending.close()
    with pytest.raises(TransitionRefused):
        ending.stop(Reason.CANCELLED)
    ending.fail("a")
    ending.close()

    assert (ending.state, ending.closed_because) == (State.CLOSED, Reason.EXPIRED)


def test_facts_are_counted_without_gaps() -> None:
    assert [payment(version=4).count_fact(), str(payment())] == [5, "o"]


def test_an_attempt_is_decided_once() -> None:
    decided = attempt(settle_at=NOW)
    assert (decided.key, str(decided)) == ("o:2", "o:2")
    assert decided.is_with_settler(NOW)

    decided.fail("generic_decline", "No.", NOW)

    assert (decided.status, decided.settle_at, decided.decided_at) == (Status.FAILED, None, NOW)
    assert not decided.is_with_settler(NOW)
    with pytest.raises(TransitionRefused):
        decided.fail("again", "No.", NOW)


def test_money_that_arrives_after_a_failure_was_recorded_counts() -> None:
    late = attempt()
    late.fail("not_confirmed", "No.", NOW)

    late.succeed(NOW)

    assert (late.status, late.failure_code, late.failure_message) == (Status.SUCCEEDED, "", "")
    with pytest.raises(TransitionRefused):
        late.succeed(NOW)


def test_no_more_is_promised_back_than_arrived() -> None:
    refunded = attempt(amount_cents=1000)
    with pytest.raises(TransitionRefused):
        refunded.promise_refund(1, "why", NOW)

    refunded.succeed(NOW)
    refunded.promise_refund(400, "why", NOW)
    assert (refunded.refund_at, refunded.refundable_cents) == (NOW, 600)
    assert refunded.is_refund_due
    for cents in (601, 0, -1):
        with pytest.raises(TransitionRefused):
            refunded.promise_refund(cents, "why", NOW)
    refunded.refund(400, NOW)
    assert (refunded.status, refunded.is_refund_due) == (Status.SUCCEEDED, False)
    refunded.promise_refund(600, "why", NOW)
    refunded.refund(600, NOW)

    assert (refunded.status, refunded.refundable_cents) == (Status.REFUNDED, 0)


def test_what_a_bank_has_taken_is_not_given_back_by_us() -> None:
    disputed = attempt(amount_cents=1000, disputed_cents=1000, status=Status.SUCCEEDED)

    assert disputed.refundable_cents == 0


def test_a_refund_that_comes_back_can_be_given_again() -> None:
    refunded = attempt(amount_cents=1000, status=Status.SUCCEEDED)
    refunded.promise_refund(1000, "why", NOW)
    refunded.refund(1000, NOW)

    refunded.unpromise_refund(1000)
    refunded.unrefund(1000)

    assert (refunded.status, refunded.refundable_cents) == (Status.SUCCEEDED, 1000)


def test_a_refund_goes_from_due_to_its_end_and_may_still_come_back() -> None:
    refund = Refund(amount_cents=500, key="o:1:refund:1")
    with pytest.raises(TransitionRefused):
        refund.succeed(NOW)

    refund.send("re_1")
    refund.succeed(NOW)
    refund.fail("lost_or_stolen_card", NOW)

    assert (refund.state, refund.provider_refund_id) == (Refund.State.FAILED, "re_1")
    for refused in (lambda: refund.fail("again", NOW), lambda: refund.send("re_2")):
        with pytest.raises(TransitionRefused):
            refused()


def test_a_refusal_and_another_amount_are_asked_under_a_new_key() -> None:
    refund = Refund(amount_cents=500, key="o:1:refund:1")

    refund.refuse("no balance")
    assert refund.key == "o:1:refund:1/1"
    refund.shrink(200)
    assert (refund.key, refund.amount_cents) == ("o:1:refund:1/2", 300)

    with pytest.raises(TransitionRefused):
        refund.shrink(300)


def test_an_attempt_that_the_settler_has_taken_is_its_own() -> None:
    later = NOW + timedelta(seconds=1)

    assert not attempt(settle_at=later).is_with_settler(NOW)
    assert attempt(settle_at=later, settle_tries=1).is_with_settler(NOW)


def test_a_webhook_reads_as_its_type_and_id() -> None:
    assert str(StripeEvent(id="evt_1", type="charge.refunded")) == "charge.refunded evt_1"
