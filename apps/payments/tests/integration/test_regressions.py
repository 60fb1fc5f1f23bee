"""What went wrong in an earlier implementation of the same design, and must not go wrong here."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from apps.outbox.transactions import is_open
from apps.payments import services
from apps.payments.gateway import ProviderUnsure
from apps.payments.management.settler import Settler
from apps.payments.models import OrderAlreadyPaid, Payment, PaymentAttempt
from apps.payments.tests.factories import (
    NOW,
    make_order,
    order_cancelled,
    order_expired,
    payment_of,
    refund_requested,
)
from apps.payments.tests.steps import facts_of, order_now, pay, receive

pytestmark = pytest.mark.django_db(transaction=True)


def test_11_an_order_is_charged_twice(sandbox) -> None:
    """No check for a paid order, no unique payment per order, no idempotency key."""
    order = make_order()
    gateway = sandbox.gateway()

    def click(_number: int) -> None:
        try:
            pay(order, gateway)
        except OrderAlreadyPaid:
            pass
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(click, range(6)))
    with pytest.raises(OrderAlreadyPaid):
        pay(order, gateway)

    assert len(sandbox.charges_of(order.order_id)) == 1
    [intent] = [
        intent
        for intent in sandbox.client().payment_intents.list({"limit": 50}).data
        if intent.metadata["order_id"] == order.order_id
    ]
    assert intent.status == "succeeded"


def test_11_the_charge_is_made_inside_a_transaction_and_lost_with_it(fake) -> None:
    """The provider is asked with no transaction open, and after the attempt was written down."""
    order = make_order()

    class Watchful(type(fake)):
        def _once(self, operation: str, key: str, act: Any) -> Any:
            assert not is_open()
            assert PaymentAttempt.objects.filter(order_id=order.order_id).exists()
            return super()._once(operation, key, act)

    watchful = Watchful()
    pay(order, watchful)
    paid = payment_of(order).paid_payment_id
    services.request_refund(payment_id=paid, reason="Sold meanwhile.", now=NOW)
    Settler(watchful, clock=lambda: NOW + timedelta(hours=1)).run_once()

    assert watchful.calls == [
        "create_method",
        "create_intent",
        "confirm_intent",
        "list_refunds",
        "refund_intent",
    ]


def test_12_a_late_payment_has_no_way_back(sandbox) -> None:
    """Money for an order that lost its ticket goes back by itself, once, and is told."""
    order = order_now()
    receive(order)
    sandbox.fault("timeout_after", operation="confirm_intent")
    attempt = pay(order, sandbox.gateway(), clock=timezone.now)
    receive(order_cancelled(order))
    Settler(sandbox.gateway()).run_once()
    assert facts_of(order) == ["started", "succeeded"]

    receive(refund_requested(order, str(attempt.pk)))
    Settler(sandbox.gateway()).run_once()

    assert facts_of(order) == ["started", "succeeded", "refund_requested", "refunded"]
    assert payment_of(order).state == Payment.State.REFUNDED
    [refund] = sandbox.client().refunds.list({"payment_intent": attempt.intent_id}).data
    assert refund.amount == 1250


def test_14_a_cancelled_order_can_still_be_paid_and_its_cancellation_loops_for_ever(fake) -> None:
    """The copy was one version behind after each payment, so that every cancellation was refused.

    Here nothing of an order's events is refused for its version: each takes effect by state.
    """
    paid, cancelled = order_now(), order_now()
    receive(paid)
    receive(cancelled)
    pay(paid, fake, clock=timezone.now)

    receive(order_cancelled(paid, version=7))
    receive(order_cancelled(cancelled, version=2))
    receive(order_expired(cancelled, version=2))

    assert payment_of(paid).state == Payment.State.PAID
    assert payment_of(cancelled).state == Payment.State.CLOSED
    assert len(fake.charges) == 1


def test_an_unknown_outcome_is_told_as_a_failure_and_paid_again(fake) -> None:
    """What buyers of every ticketing system complain about: it said failed, so they paid again."""
    order = make_order()
    fake.answers["confirm_intent"] = [("after", ProviderUnsure("timeout"))]

    first, second = pay(order, fake), pay(order, fake)

    assert first.status == PaymentAttempt.Status.PENDING
    assert second.status == PaymentAttempt.Status.SUCCEEDED
    assert len(fake.charges) == 1
