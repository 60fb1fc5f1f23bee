from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.utils import timezone

from apps.core.context import Trace, traced
from apps.outbox.models import OutboxEvent
from apps.payments import selectors, services
from apps.payments.gateway import KeyReused, ProviderRefused, ProviderUnsure
from apps.payments.management.settler import Settler
from apps.payments.models import OrderExpiredAlready, Payment, PaymentAttempt, StripeEvent
from apps.payments.tests.factories import (
    BUYER,
    NOW,
    make_order,
    order_cancelled,
    order_expired,
    payment_of,
    refund_requested,
)
from apps.payments.tests.integration.test_paying import facts_of, pay
from apps.payments.tests.sandbox import ROOT, eventually

pytestmark = pytest.mark.django_db(transaction=True)

Status = PaymentAttempt.Status
MUCH_LATER = NOW + timedelta(hours=1)


def settle(gateway: Any, now: Any = MUCH_LATER) -> bool:
    return Settler(gateway, clock=lambda: now).run_once()


def last(order: Any) -> PaymentAttempt:
    return selectors.find_last_attempt(order_id=order.order_id)


def close(order: Any, reason: Payment.Reason = Payment.Reason.EXPIRED) -> None:
    event = order_expired(order) if reason == Payment.Reason.EXPIRED else order_cancelled(order)
    services.close_payment(order=event, reason=reason, now=NOW)


def test_a_timeout_after_the_money_was_taken_ends_as_paid(sandbox) -> None:
    order = make_order()
    sandbox.fault("timeout_after", operation="confirm_intent")

    assert pay(order, sandbox.gateway()).status == Status.PENDING
    settle(sandbox.gateway())

    assert last(order).status == Status.SUCCEEDED
    assert len(sandbox.charges_of(order.order_id)) == 1
    assert facts_of(order) == ["started", "succeeded"]


def test_a_timeout_before_the_money_was_taken_ends_as_not_paid(sandbox) -> None:
    order = make_order()
    sandbox.fault("timeout_before", operation="confirm_intent")

    assert pay(order, sandbox.gateway()).status == Status.PENDING
    settle(sandbox.gateway())

    assert (last(order).status, last(order).failure_code) == (Status.FAILED, "not_confirmed")
    assert sandbox.charges_of(order.order_id) == []
    assert pay(order, sandbox.gateway()).status == Status.SUCCEEDED
    assert len(sandbox.charges_of(order.order_id)) == 1


@pytest.mark.parametrize("kind", ["timeout_before", "timeout_after", "error_before", "error_after"])
@pytest.mark.parametrize("operation", ["create_method", "create_intent", "confirm_intent"])
def test_whatever_call_loses_its_answer_there_is_at_most_one_charge(
    sandbox, kind: str, operation: str
) -> None:
    order = make_order()
    sandbox.fault(kind, operation=operation)

    pay(order, sandbox.gateway())
    settle(sandbox.gateway())

    charges = len(sandbox.charges_of(order.order_id))
    assert last(order).status == (Status.SUCCEEDED if charges else Status.FAILED)
    assert charges == (1 if operation == "confirm_intent" and kind.endswith("after") else 0)
    if not charges:
        assert pay(order, sandbox.gateway()).status == Status.SUCCEEDED


def test_a_charge_that_is_still_on_its_way_cannot_arrive_after_the_attempt_was_given_up(
    sandbox,
) -> None:
    """The request outlives its client: it is carried out only after the settler has cancelled."""
    order = make_order()
    sandbox.fault("delay", operation="confirm_intent", seconds=1.5)
    attempt = pay(order, sandbox.gateway(timeout=(2.0, 0.3)))
    assert attempt.status == Status.PENDING

    settle(sandbox.gateway())

    assert last(order).status == Status.FAILED
    eventually(lambda: f"{attempt.intent_id}/confirm" in sandbox.text())
    assert sandbox.charges_of(order.order_id) == []


def test_an_intent_whose_id_was_lost_is_found_by_its_key_and_cancelled(sandbox) -> None:
    order = make_order()
    sandbox.fault("timeout_after", operation="create_intent")
    pay(order, sandbox.gateway())
    assert last(order).intent_id == ""

    settle(sandbox.gateway())

    intent = sandbox.client().payment_intents.retrieve(last(order).intent_id)
    assert (intent.status, intent.metadata["order_id"]) == ("canceled", order.order_id)
    assert last(order).status == Status.FAILED


@pytest.mark.parametrize(
    "trouble", [KeyReused("used"), ProviderUnsure("500"), ProviderRefused("no", "No.")]
)
def test_an_attempt_without_an_intent_is_given_up_even_if_the_provider_does_not_help(
    fake, trouble: Exception
) -> None:
    order = make_order()
    fake.answers["create_intent"] = [ProviderUnsure("timeout"), trouble]
    pay(order, fake)

    settle(fake)

    assert (last(order).status, last(order).failure_code) == (Status.FAILED, "not_confirmed")
    assert fake.charges == []


def test_an_outage_of_the_provider_is_waited_for_with_growing_pauses(fake) -> None:
    order = make_order()
    fake.answers["confirm_intent"] = [("after", ProviderUnsure("timeout"))]
    pay(order, fake)
    pauses = []

    for tries in range(8):
        now = last(order).settle_at
        fake.answers["retrieve_intent"] = [ProviderUnsure(f"away {tries}")]
        assert settle(fake, now)
        assert not settle(fake, now)
        pauses.append((last(order).settle_at - now).total_seconds())
    settle(fake, last(order).settle_at)

    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert (last(order).status, last(order).settle_at) == (Status.SUCCEEDED, None)
    assert facts_of(order) == ["started", "succeeded"]


def test_a_bank_that_is_still_deciding_is_waited_for(fake) -> None:
    order = make_order()
    fake.answers["confirm_intent"] = [ProviderUnsure("timeout")]
    attempt = pay(order, fake)
    fake.put_status(attempt.intent_id, "processing")

    settle(fake)
    assert last(order).status == Status.PENDING
    fake.put_status(attempt.intent_id, "succeeded")
    settle(fake, MUCH_LATER + timedelta(hours=1))

    assert last(order).status == Status.SUCCEEDED


def test_a_decline_whose_answer_was_lost_is_told_afterwards(sandbox) -> None:
    order = make_order()
    sandbox.fault("timeout_after", operation="confirm_intent")

    pay(order, sandbox.gateway(), "tok_chargeDeclinedInsufficientFunds")
    settle(sandbox.gateway())

    assert (last(order).status, last(order).failure_code) == (Status.FAILED, "insufficient_funds")


def test_an_attempt_is_settled_only_when_it_is_due(fake) -> None:
    order = make_order()
    fake.answers["confirm_intent"] = [ProviderUnsure("timeout")]
    pay(order, fake)

    assert not settle(fake, NOW)
    assert settle(fake, NOW + timedelta(seconds=2))


def test_an_attempt_that_another_settler_took_is_left_to_it(fake) -> None:
    order = make_order()
    fake.answers["confirm_intent"] = [ProviderUnsure("timeout")]
    pay(order, fake)
    stale = last(order)
    PaymentAttempt.objects.filter(pk=stale.pk).update(settle_at=MUCH_LATER)
    fake.calls.clear()

    services.settle_attempt(attempt=stale, gateway=fake, clock=lambda: MUCH_LATER)

    assert fake.calls == []


# Closing: an order that expired or was cancelled.


@pytest.mark.parametrize("reason", list(Payment.Reason))
def test_a_payment_without_an_open_attempt_closes_at_once(reason: Payment.Reason) -> None:
    order = make_order()

    close(order, reason)
    close(order, reason)

    assert payment_of(order).state == Payment.State.CLOSED
    assert facts_of(order) == ["closed"]


def test_a_payment_with_an_open_attempt_closes_only_when_the_provider_says_not_paid(
    sandbox,
) -> None:
    order = make_order()
    sandbox.fault("timeout_before", operation="confirm_intent")
    pay(order, sandbox.gateway())

    close(order)
    assert payment_of(order).state == Payment.State.CLOSING
    assert facts_of(order) == ["started"]
    settle(sandbox.gateway(), NOW)

    assert payment_of(order).state == Payment.State.CLOSED
    assert (last(order).failure_code, last(order).status) == ("expired", Status.FAILED)
    assert facts_of(order) == ["started", "failed", "closed"]
    assert sandbox.charges_of(order.order_id) == []


def test_an_order_that_expires_while_its_charge_goes_through_is_found_paid(sandbox) -> None:
    order = make_order()
    sandbox.fault("timeout_after", operation="confirm_intent")
    pay(order, sandbox.gateway())

    close(order)
    settle(sandbox.gateway(), NOW)

    assert payment_of(order).state == Payment.State.PAID
    assert facts_of(order) == ["started", "succeeded"]


def test_a_decline_that_ends_the_last_attempt_of_a_closing_payment_closes_it(fake) -> None:
    order = make_order()
    fake.decline = "generic_decline"

    class Closing(type(fake)):
        def confirm_intent(self, **fields: Any) -> Any:
            close(order, Payment.Reason.CANCELLED)
            return super().confirm_intent(**fields)

    with pytest.raises(services.PaymentDeclined):
        pay(order, Closing("generic_decline"))

    assert facts_of(order) == ["started", "failed", "closed"]


def test_a_payment_that_is_closing_takes_no_further_attempt(fake) -> None:
    order = make_order()
    fake.answers["confirm_intent"] = [ProviderUnsure("timeout")]
    pay(order, fake)
    close(order)
    fake.calls.clear()

    assert pay(order, fake).status == Status.PENDING

    assert fake.calls == []


def test_a_paid_payment_is_not_closed_by_a_late_expiry(fake) -> None:
    order = make_order()
    pay(order, fake)

    close(order)

    assert payment_of(order).state == Payment.State.PAID
    assert facts_of(order) == ["started", "succeeded"]


def test_the_expiry_of_an_unknown_order_closes_it_so_that_its_hold_ends() -> None:
    order = make_order()
    Payment.objects.filter(pk=order.order_id).delete()

    close(order)
    services.record_order(order=order, now=NOW)

    assert payment_of(order).state == Payment.State.CLOSED
    assert facts_of(order) == ["closed"]


def test_an_expiry_that_meets_a_payment_in_the_same_moment_never_loses_either(sandbox) -> None:
    """Whoever comes first, the order ends paid with one charge, or closed with none."""
    gateway = sandbox.gateway()
    for _ in range(10):
        order = make_order()
        with ThreadPoolExecutor(1) as other:
            expiry = other.submit(close, order)
            with contextlib.suppress(services.PaymentDeclined, OrderExpiredAlready):
                pay(order, gateway)
            expiry.result()
        settle(gateway)
        payment = payment_of(order)
        charges = len(sandbox.charges_of(order.order_id))
        assert (payment.state, charges) in {(Payment.State.PAID, 1), (Payment.State.CLOSED, 0)}


# Refunds


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


# Crashes

CRASH = """
import os, signal, sys
import django
django.setup()
from django.conf import settings
from apps.payments import services
from apps.payments.gateway import StripeGateway

step, order_id, buyer_id, api_base = sys.argv[1:]

class Mortal(StripeGateway):
    pass

def deadly(name):
    def call(self, **fields):
        if step == f"before {name}":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = getattr(StripeGateway, name)(self, **fields)
        if step == f"after {name}":
            os.kill(os.getpid(), signal.SIGKILL)
        return answer
    return call

for name in ("create_method", "create_intent", "confirm_intent"):
    setattr(Mortal, name, deadly(name))
gateway = Mortal(key=settings.STRIPE_KEY, api_base=api_base)
services.pay_order(order_id=order_id, buyer_id=buyer_id, method="tok_visa", gateway=gateway)
"""


@pytest.mark.parametrize(
    ("step", "charges"),
    [
        ("before create_method", 0),
        ("after create_method", 0),
        ("after create_intent", 0),
        ("before confirm_intent", 0),
        ("after confirm_intent", 1),
    ],
)
def test_a_process_killed_between_any_two_steps_leaves_a_payment_that_is_settled_once(
    sandbox, step: str, charges: int
) -> None:
    order = make_order(now=timezone.now())
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CRASH, step, order.order_id, BUYER, sandbox.url],
        cwd=ROOT,
        env=os.environ
        | {
            "DJANGO_SETTINGS_MODULE": "ticketing.settings.payments",
            "MONGODB_DATABASE": connection.settings_dict["NAME"],
        },
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert last(order).status == Status.PENDING

    for _ in range(2):
        settle(sandbox.gateway(), timezone.now() + timedelta(minutes=1))

    assert last(order).status == (Status.SUCCEEDED if charges else Status.FAILED)
    assert len(sandbox.charges_of(order.order_id)) == charges
    assert facts_of(order) == ["started", "succeeded" if charges else "failed"]


# The loop


def test_the_loop_waits_while_the_database_is_away_and_stops_when_told(fake) -> None:
    rounds = []

    class Flaky(Settler):
        def run_once(self) -> bool:
            rounds.append(len(rounds))
            if len(rounds) == 1:
                raise DatabaseError("away")
            if len(rounds) == 3:
                self.stop()
            return len(rounds) == 2

    alive: list[int] = []
    Flaky(fake, alive=lambda: alive.append(1)).run()

    assert rounds == [0, 1, 2]
    assert len(alive) == 3


def test_the_command_settles_and_ends_on_sigterm(sandbox, tmp_path) -> None:
    order = make_order(now=timezone.now())
    sandbox.fault("timeout_after", operation="confirm_intent")
    pay(order, sandbox.gateway(), clock=timezone.now)
    alive = tmp_path / "alive"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "manage.py", "settle_payments"],
        cwd=ROOT,
        env=os.environ
        | {
            "DJANGO_SETTINGS_MODULE": "ticketing.settings.payments",
            "MONGODB_DATABASE": connection.settings_dict["NAME"],
            "STRIPE_API_BASE": sandbox.url,
            "LIVENESS_FILE": str(alive),
        },
    )

    eventually(lambda: last(order).status == Status.SUCCEEDED)
    assert alive.exists()
    process.send_signal(signal.SIGTERM)

    assert process.wait(timeout=20) == 0
    assert facts_of(order) == ["started", "succeeded"]


def test_what_is_due_is_found_by_an_index() -> None:
    make_order()
    due = PaymentAttempt.objects.filter(settle_at__lte=NOW).order_by("settle_at")
    stored = StripeEvent.objects.filter(state="stored").order_by("received_at")

    for plan in (due[:50].explain(), stored[:50].explain()):
        assert "IXSCAN" in plan
        assert "COLLSCAN" not in plan
        assert "'SORT'" not in plan


def test_what_the_settler_publishes_belongs_to_the_request_that_began_it(fake) -> None:
    order = make_order()
    fake.answers["confirm_intent"] = [("after", ProviderUnsure("timeout"))]
    with traced(Trace(correlation_id="request-1")):
        pay(order, fake)

    settle(fake)

    events = OutboxEvent.objects.filter(aggregate_id=order.order_id)
    assert len(events) == 2
    assert {json.loads(event.headers)["ce_correlationid"] for event in events} == {"request-1"}
