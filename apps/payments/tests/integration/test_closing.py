from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from apps.payments import services
from apps.payments.gateway import ProviderUnsure
from apps.payments.models import OrderExpiredAlready, Payment, PaymentAttempt
from apps.payments.tests.factories import (
    NOW,
    make_order,
    payment_of,
)
from apps.payments.tests.steps import close, facts_of, last, pay, settle

pytestmark = pytest.mark.django_db(transaction=True)

Status = PaymentAttempt.Status


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
