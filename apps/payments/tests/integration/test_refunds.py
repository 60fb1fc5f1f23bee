from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import uuid6
from django.db import connection
from django.utils import timezone

from apps.outbox.context import Trace, traced
from apps.outbox.models import OutboxEvent
from apps.payments import services
from apps.payments.gateway import ProviderRefund, ProviderRefused, ProviderUnsure, Webhook
from apps.payments.models import Payment, PaymentAttempt, Refund
from apps.payments.tests.factories import (
    NOW,
    make_order,
    payment_of,
    refund_requested,
)
from apps.payments.tests.steps import MUCH_LATER, close, facts_of, last, pay, receive, settle

pytestmark = pytest.mark.django_db(transaction=True)

Status = PaymentAttempt.Status
State = Refund.State
STAFF = "staff:ada@example.com"
CLICKS = 8


@pytest.fixture(autouse=True)
def _the_ledger_balances() -> Any:
    yield
    assert services.check_ledger() == []


def refunds_of(order: Any) -> list[Refund]:
    return list(Refund.objects.filter(order_id=order.order_id).order_by("requested_at", "key"))


def ask(attempt: PaymentAttempt, cents: int | None = None, **more: Any) -> Refund | None:
    fields = {"reason": "Sold meanwhile.", "now": NOW} | more
    return services.request_refund(payment_id=str(attempt.pk), amount_cents=cents, **fields)


def ask_by_staff(attempt: PaymentAttempt, cents: int) -> Refund:
    refund = ask(attempt, cents, requested_by=STAFF, reason="The first act was cut.")
    assert refund is not None
    return refund


def test_a_refund_is_given_once_however_often_it_is_requested(sandbox) -> None:
    order = make_order()
    attempt = pay(order, sandbox.gateway())
    refund_id = str(uuid6.uuid7())

    for _ in range(2):
        ask(attempt, refund_id=refund_id)
    settle(sandbox.gateway())
    ask(attempt, refund_id=refund_id)
    settle(sandbox.gateway())

    [given] = sandbox.client().refunds.list({"payment_intent": attempt.intent_id}).data
    [refund] = refunds_of(order)
    assert (given.amount, given.metadata["refund_id"]) == (1250, refund_id)
    assert (refund.state, refund.provider_refund_id) == (State.SUCCEEDED, given.id)
    assert str(refund.pk) == refund_id
    assert payment_of(order).state == Payment.State.REFUNDED
    assert last(order).status == Status.REFUNDED
    assert facts_of(order) == ["started", "succeeded", "refund_requested", "refunded"]


def test_a_request_from_before_refunds_had_an_id_is_granted_once(fake) -> None:
    order = make_order()
    attempt = pay(order, fake)

    for _ in range(2):
        receive(refund_requested(order, str(attempt.pk)))
        settle(fake, timezone.now())

    assert len(fake.refunds) == 1


def test_parts_go_back_until_nothing_is_left(sandbox) -> None:
    order = make_order()
    attempt = pay(order, sandbox.gateway())

    ask_by_staff(attempt, 500)
    settle(sandbox.gateway())
    assert (last(order).status, last(order).refunded_cents) == (Status.SUCCEEDED, 500)
    assert payment_of(order).state == Payment.State.PAID
    ask_by_staff(attempt, 750)
    settle(sandbox.gateway())

    assert last(order).status == Status.REFUNDED
    assert payment_of(order).state == Payment.State.REFUNDED
    given = sandbox.client().refunds.list({"payment_intent": attempt.intent_id}).data
    assert sorted(refund.amount for refund in given) == [500, 750]
    assert facts_of(order)[2:] == ["refund_requested", "refunded"] * 2


@pytest.mark.parametrize("cents", [1251, 0, -5])
def test_a_refund_of_an_impossible_amount_is_refused(fake, cents: int) -> None:
    order = make_order()
    attempt = pay(order, fake)

    with pytest.raises((services.RefundTooLarge, services.RefundInvalid)):
        ask_by_staff(attempt, cents)

    assert refunds_of(order) == []
    assert facts_of(order) == ["started", "succeeded"]


def test_concurrent_clicks_never_promise_more_than_was_paid(sandbox) -> None:
    """Eight members of staff press the button at once; 1250 has room for three of 400."""
    order = make_order()
    attempt = pay(order, sandbox.gateway())

    def click(_number: int) -> bool:
        try:
            ask_by_staff(attempt, 400)
        except services.RefundTooLarge:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(CLICKS) as pool:
        outcomes = list(pool.map(click, range(CLICKS)))
    settle(sandbox.gateway())

    assert outcomes.count(True) == 3
    assert sorted(refund.state for refund in refunds_of(order)) == [State.SUCCEEDED] * 3
    assert (last(order).promised_cents, last(order).refunded_cents) == (1200, 1200)
    charge = sandbox.charges_of(order.order_id)[0]
    assert charge.amount_refunded == 1200
    assert facts_of(order).count("refund_requested") == 3


def test_a_staff_refund_and_a_cancellation_at_once_give_back_what_was_paid(fake) -> None:
    order = make_order()
    attempt = pay(order, fake)
    asks = [
        lambda: ask_by_staff(attempt, 400),
        lambda: ask(attempt, requested_by=Refund.BUYER, refund_id=str(uuid6.uuid7())),
    ]

    def run(number: int) -> None:
        try:
            asks[number % 2]()
        except services.RefundTooLarge:
            pass
        finally:
            connection.close()

    with ThreadPoolExecutor(CLICKS) as pool:
        list(pool.map(run, range(CLICKS)))
    settle(fake)

    assert last(order).refunded_cents == 1250
    assert last(order).status == Status.REFUNDED


def test_two_settlers_that_meet_over_refunds_give_each_once(sandbox) -> None:
    order = make_order()
    attempt = pay(order, sandbox.gateway())
    for cents in (100, 200, 300):
        ask_by_staff(attempt, cents)
    stale = last(order)

    def work(_number: int) -> None:
        services.settle_refunds(attempt=stale, gateway=sandbox.gateway(), clock=lambda: MUCH_LATER)
        connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    settle(sandbox.gateway(), MUCH_LATER + timedelta(hours=1))

    given = sandbox.client().refunds.list({"payment_intent": attempt.intent_id}).data
    assert sorted(refund.amount for refund in given) == [100, 200, 300]
    assert facts_of(order).count("refunded") == 3


@pytest.mark.parametrize("kind", ["timeout_before", "timeout_after", "error_after"])
def test_a_refund_whose_answer_was_lost_is_given_once(sandbox, kind: str) -> None:
    order = make_order()
    attempt = pay(order, sandbox.gateway())
    ask(attempt)
    sandbox.fault(kind, operation="create_refund")

    settle(sandbox.gateway())
    assert [refund.state for refund in refunds_of(order)] == [State.DUE]
    settle(sandbox.gateway(), MUCH_LATER + timedelta(hours=1))

    assert last(order).status == Status.REFUNDED
    assert len(sandbox.client().refunds.list({"payment_intent": attempt.intent_id}).data) == 1
    assert facts_of(order).count("refunded") == 1


def test_money_that_staff_gave_back_at_the_provider_is_not_given_back_again(sandbox) -> None:
    order = make_order()
    attempt = pay(order, sandbox.gateway())
    by_hand = sandbox.client().refunds.create({"payment_intent": attempt.intent_id})

    ask(attempt)
    settle(sandbox.gateway())

    assert [refund.provider_refund_id for refund in refunds_of(order)] == [by_hand.id]


@pytest.mark.parametrize("kind", ["refund.created", "charge.refunded"])
def test_money_given_back_by_hand_is_found_when_the_provider_tells_of_it(
    sandbox, kind: str
) -> None:
    order = make_order()
    attempt = pay(order, sandbox.gateway())
    sandbox.client().refunds.create({"payment_intent": attempt.intent_id})
    webhook = Webhook(
        id=f"evt_{kind}",
        type=kind,
        created_at=NOW,
        intent_id=attempt.intent_id,
        payment_id="",
        payload="{}",
    )

    services.store_webhook(webhook=webhook, now=NOW)
    settle(sandbox.gateway())

    assert [refund.requested_by for refund in refunds_of(order)] == [Refund.PROVIDER]
    assert payment_of(order).state == Payment.State.REFUNDED
    assert facts_of(order)[2:] == ["refund_requested", "refunded"]


def test_money_given_back_before_its_arrival_was_recorded_waits_for_that(fake) -> None:
    order = make_order()
    fake.answers["confirm_intent"] = [("after", ProviderUnsure("timeout"))]
    attempt = pay(order, fake)
    fake.given[attempt.intent_id] = [
        ProviderRefund(id="re_by_hand", status="succeeded", amount_cents=1250)
    ]
    PaymentAttempt.objects.filter(pk=attempt.pk).update(refund_at=NOW, settle_at=MUCH_LATER)

    settle(fake, NOW)
    assert refunds_of(order) == []
    settle(fake)
    settle(fake, MUCH_LATER + timedelta(hours=1))

    assert payment_of(order).state == Payment.State.REFUNDED


def test_a_part_that_was_given_by_hand_leaves_the_rest_of_what_is_owed(sandbox) -> None:
    order = make_order()
    attempt = pay(order, sandbox.gateway())
    sandbox.client().refunds.create({"payment_intent": attempt.intent_id, "amount": 450})

    ask(attempt)
    settle(sandbox.gateway())

    parts = {refund.requested_by: refund.amount_cents for refund in refunds_of(order)}
    assert parts == {Refund.SYSTEM: 800, Refund.PROVIDER: 450}
    assert last(order).status == Status.REFUNDED


def test_a_part_for_which_there_is_no_room_any_more_fails_and_says_why(sandbox) -> None:
    order = make_order()
    attempt = pay(order, sandbox.gateway())
    sandbox.client().refunds.create({"payment_intent": attempt.intent_id, "amount": 1000})

    refund = ask_by_staff(attempt, 400)
    settle(sandbox.gateway())

    refund.refresh_from_db()
    assert refund.state == State.FAILED
    assert "another way" in refund.last_error
    assert (last(order).promised_cents, last(order).refunded_cents) == (1000, 1000)
    assert facts_of(order).count("refund_failed") == 1


def test_a_refund_that_is_refused_stays_due_says_why_and_is_asked_anew(fake) -> None:
    order = make_order()
    attempt = pay(order, fake)
    ask(attempt)
    fake.answers["refund_intent"] = [ProviderRefused("balance", "Not enough balance.")]

    settle(fake)
    [refund] = refunds_of(order)
    assert (refund.state, refund.last_error) == (State.DUE, "Not enough balance.")
    settle(fake, MUCH_LATER + timedelta(hours=1))

    [refund] = refunds_of(order)
    assert (refund.state, refund.key) == (State.SUCCEEDED, f"{attempt.key}:refund:1/1")


def test_a_refund_waits_while_the_provider_is_away(fake) -> None:
    order = make_order()
    ask(pay(order, fake))
    fake.answers["list_refunds"] = [ProviderUnsure("timeout")]

    settle(fake)
    assert [refund.last_error for refund in refunds_of(order)] == ["timeout"]
    settle(fake, MUCH_LATER + timedelta(hours=1))

    assert last(order).status == Status.REFUNDED


def test_a_refund_under_way_is_told_when_the_bank_has_taken_it(fake) -> None:
    order = make_order()
    refund = ask(pay(order, fake))
    assert refund is not None
    given = ProviderRefund(id="re_1", status="pending", amount_cents=1250, refund_id=str(refund.pk))

    services.record_refund(refund_id=str(refund.pk), given=given, now=NOW)
    assert "refunded" not in facts_of(order)
    for _ in range(2):
        done = replace(given, status="succeeded")
        services.record_refund(refund_id=str(refund.pk), given=done, now=NOW)

    assert facts_of(order).count("refunded") == 1


def test_a_refund_that_comes_back_from_the_bank_is_told_and_can_be_given_again(fake) -> None:
    order = make_order()
    attempt = pay(order, fake)
    ask_by_staff(attempt, 1250)
    settle(fake)
    assert payment_of(order).state == Payment.State.REFUNDED

    [given] = fake.given[attempt.intent_id]
    fake.given[attempt.intent_id] = [
        replace(given, status="failed", failure_reason="lost_or_stolen_card")
    ]
    PaymentAttempt.objects.filter(pk=attempt.pk).update(refund_at=NOW)
    settle(fake)

    assert payment_of(order).state == Payment.State.PAID
    assert facts_of(order)[-1] == "refund_failed"
    ask_by_staff(last(order), 1250)
    settle(fake, MUCH_LATER + timedelta(hours=1))
    assert payment_of(order).state == Payment.State.REFUNDED
    assert [refund.state for refund in refunds_of(order)] == [State.FAILED, State.SUCCEEDED]


def test_what_comes_of_a_refund_names_its_request_as_the_cause(fake) -> None:
    order = make_order()
    attempt = pay(order, fake)
    with traced(Trace(correlation_id="click-1")):
        ask_by_staff(attempt, 100)
    settle(fake)

    events = OutboxEvent.objects.filter(aggregate_id=order.order_id)
    requested = events.get(type__contains="refund_requested")
    refunded = events.get(type__contains=".refunded.")
    assert str(requested.pk) in refunded.headers
    assert "click-1" in refunded.headers


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
