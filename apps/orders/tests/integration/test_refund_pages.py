"""What a buyer reads about money that goes back, and how a paid ticket is given back."""

from __future__ import annotations

import pytest
from django.test import Client

from apps.orders.models import Order
from apps.orders.tests.story import (
    deliver,
    published,
    refund_failed,
    refund_of,
    refund_requested,
    reload,
    reserve,
    succeeded,
)

pytestmark = pytest.mark.django_db(transaction=True)

ALL = 1250
BUTTON = "Cancel the order and get the money back"


def paid() -> Order:
    order = reserve()
    deliver(succeeded(order))
    return reload(order)


def page(client: Client, order: Order) -> str:
    return client.get(f"/orders/{order.pk}/").content.decode()


def press_give_back(client: Client, order: Order) -> str:
    return client.post(f"/orders/{order.pk}/cancel/", follow=True).content.decode()


def test_paid_ticket_cannot_be_given_back_where_no_policy_allows_it(buyer, settings):
    settings.PAID_ORDER_CANCELLATION_SECONDS = 0
    order = paid()

    assert BUTTON not in page(buyer, order)
    assert "A paid order cannot be cancelled." in press_give_back(buyer, order)
    assert reload(order).is_complete


def test_paid_ticket_is_given_back_on_the_page(buyer, settings):
    settings.PAID_ORDER_CANCELLATION_SECONDS = 3600
    order = paid()
    assert BUTTON in page(buyer, order)

    answer = press_give_back(buyer, order)

    assert "You gave the ticket back. Your money is on its way to you." in answer
    assert "$12.50 is on its way back to you" in answer
    assert BUTTON not in answer
    assert published(order)[2:] == ["OrderCancelled", "OrderRefundRequested"]


def test_used_ticket_cannot_be_given_back(buyer, settings):
    settings.PAID_ORDER_CANCELLATION_SECONDS = 3600
    order = paid()
    Order.objects.filter(pk=order.pk).update(used_at=order.completed_at)

    assert BUTTON not in page(buyer, order)
    press_give_back(buyer, order)
    assert reload(order).is_complete


def test_api_says_why_a_paid_order_is_not_cancelled_any_more(buyer, settings):
    settings.PAID_ORDER_CANCELLATION_SECONDS = 1
    order = paid()
    Order.objects.filter(pk=order.pk).update(completed_at=order.created_at)

    answer = buyer.delete(f"/api/orders/{order.pk}")

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["code"] == "cancellation_over"
    assert BUTTON not in page(buyer, order)


def test_api_cancels_a_paid_order_in_time(buyer, settings):
    settings.PAID_ORDER_CANCELLATION_SECONDS = 3600
    order = paid()

    assert [buyer.delete(f"/api/orders/{order.pk}").status_code for _ in range(2)] == [204, 204]

    assert buyer.get(f"/api/orders/{order.pk}").json()["status"] == "cancelled"


def test_part_that_went_back_is_told_and_the_ticket_stays(buyer):
    order = paid()
    request = refund_requested(order, 500)

    deliver(request)
    before = page(buyer, order)
    deliver(refund_of(order, 500, 500, refund_id=request.refund_id))
    after = page(buyer, order)

    assert "$5.00 is on its way back to you" in before
    assert 'data-state="paid-open"' in before
    assert "$5.00 went back to you" in after
    assert "The ticket is yours" in after
    assert "ada@example.com" not in after


def test_order_of_which_all_went_back_says_so(buyer):
    order = paid()

    deliver(refund_of(order, ALL, ALL))
    text = page(buyer, order)

    assert "The order was refunded" in text
    assert 'data-refresh-until="refunded"' in text
    assert "Refunded" in buyer.get("/orders/").content.decode()


def test_refund_that_failed_is_not_called_done(buyer):
    order = paid()
    given = refund_of(order, ALL, ALL)
    deliver(given)

    deliver(refund_failed(order, given.refund_id))

    assert "$12.50 could not be given back to you" in page(buyer, order)
    assert "could not be given back" in buyer.get("/orders/").content.decode()
