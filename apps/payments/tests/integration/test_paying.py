from __future__ import annotations

import pytest

from apps.outbox.models import OutboxEvent
from apps.payments import services
from apps.payments.models import Payment, PaymentAttempt
from apps.payments.tests.factories import BUYER, NOW, make_order, payment_of

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_order_is_paid_by_one_charge(sandbox) -> None:
    order = make_order()

    attempt = services.pay_order(
        order_id=order.order_id,
        buyer_id=BUYER,
        method="tok_visa",
        gateway=sandbox.gateway(),
        clock=lambda: NOW,
    )

    assert attempt.status == PaymentAttempt.Status.SUCCEEDED
    assert payment_of(order).state == Payment.State.PAID
    assert len(sandbox.charges_of(order.order_id)) == 1
    events = OutboxEvent.objects.filter(aggregate_id=order.order_id).order_by("version")
    assert [(event.version, event.type.split(".")[-2]) for event in events] == [
        (1, "started"),
        (2, "succeeded"),
    ]
