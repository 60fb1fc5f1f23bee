from __future__ import annotations

import pytest
import uuid6
from django.utils import timezone

from apps.payments import services
from apps.payments.models import Payment, PaymentAttempt
from apps.payments.tests.factories import (
    order_cancelled,
    order_expired,
    payment_of,
    refund_requested,
)
from apps.payments.tests.steps import facts_of, order_now, pay, receive

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_created_order_may_be_paid(fake) -> None:
    order = order_now()

    assert receive(order, "e1")
    assert not receive(order, "e1")

    payment = payment_of(order)
    assert (payment.amount_cents, payment.currency, payment.version) == (1250, "usd", 0)
    assert pay(order, fake, clock=timezone.now).status == PaymentAttempt.Status.SUCCEEDED


@pytest.mark.parametrize(
    ("follow", "reason"), [(order_expired, "expired"), (order_cancelled, "cancelled")]
)
def test_an_order_that_ends_unpaid_closes_its_payment(follow, reason: str) -> None:
    order = order_now()
    receive(order)

    receive(follow(order))

    assert (payment_of(order).state, payment_of(order).closed_because) == ("closed", reason)
    assert facts_of(order) == ["closed"]


def test_the_cancellation_that_follows_an_expiry_changes_nothing() -> None:
    order = order_now()
    receive(order)
    receive(order_expired(order))

    receive(order_cancelled(order, version=3, reason="expired"))

    assert payment_of(order).closed_because == "expired"
    assert facts_of(order) == ["closed"]


def test_an_order_created_that_arrives_after_its_end_opens_nothing() -> None:
    order = order_now()
    receive(order_expired(order))

    receive(order)

    assert payment_of(order).state == Payment.State.CLOSED


def test_a_requested_refund_is_due_also_when_it_arrives_twice_or_late(fake) -> None:
    order = order_now()
    receive(order)
    attempt = pay(order, fake, clock=timezone.now)

    for _ in range(2):
        receive(refund_requested(order, str(attempt.pk), version=1))

    attempt.refresh_from_db()
    assert attempt.promised_cents == attempt.amount_cents
    services.settle_refunds(attempt=attempt, gateway=fake)
    assert fake.refunds == [attempt.intent_id]


def test_a_refund_of_a_payment_that_does_not_exist_is_a_bad_event(fake) -> None:
    order = order_now()
    receive(order)

    with pytest.raises(PaymentAttempt.DoesNotExist):
        receive(refund_requested(order, str(uuid6.uuid7())))
