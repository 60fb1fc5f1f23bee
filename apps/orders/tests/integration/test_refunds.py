"""Money that goes back, in parts or whole, and what becomes of the order and its ticket."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apps.orders import services
from apps.orders.models import CancellationOver, Order, OrderAlreadyPaid, Refund
from apps.orders.tests.factories import NOON
from apps.orders.tests.story import (
    cancel,
    deliver,
    disputed,
    let_expire,
    payload,
    published,
    refund_failed,
    refund_of,
    refund_requested,
    refunded,
    reload,
    reserve,
    run_together,
    succeeded,
)

pytestmark = pytest.mark.django_db(transaction=True)

ALL = 1250
HOUR = 3600


def paid() -> Order:
    order = reserve()
    deliver(succeeded(order))
    return reload(order)


def give_back(order: Order, after: timedelta = timedelta(0)) -> Order:
    return services.cancel_order(
        order_id=str(order.pk),
        buyer_id=order.buyer_id,
        now=reload(order).completed_at + after,
    )


def test_a_paid_order_cannot_be_cancelled_where_no_policy_allows_it(settings):
    settings.PAID_ORDER_CANCELLATION_SECONDS = 0
    order = paid()

    with pytest.raises(OrderAlreadyPaid, match="A paid order cannot be cancelled"):
        give_back(order, -timedelta(seconds=1))

    assert reload(order).is_complete


def test_a_buyer_gives_a_paid_ticket_back_in_time(settings):
    settings.PAID_ORDER_CANCELLATION_SECONDS = HOUR
    order = paid()

    for _ in range(2):
        give_back(order, timedelta(seconds=HOUR - 1))

    order = reload(order)
    assert (order.status, order.cancel_reason) == ("cancelled", "buyer")
    assert published(order) == [
        "OrderCreated",
        "OrderCompleted",
        "OrderCancelled",
        "OrderRefundRequested",
    ]
    assert payload(order, "OrderCancelled")["payment_id"] == "p1"
    asked = payload(order, "OrderRefundRequested")
    refund = Refund.objects.get(order=order)
    assert (asked["refund_id"], asked["requested_by"]) == (str(refund.pk), "buyer")
    assert refund.amount_cents == ALL
    assert reserve(order.ticket_id, "another").is_open


def test_it_is_too_late_to_give_it_back_when_the_time_is_over(settings):
    settings.PAID_ORDER_CANCELLATION_SECONDS = HOUR
    order = paid()

    with pytest.raises(CancellationOver):
        give_back(order, timedelta(seconds=HOUR))

    assert reload(order).is_complete


def test_many_clicks_give_it_back_once(settings):
    settings.PAID_ORDER_CANCELLATION_SECONDS = HOUR
    order = paid()

    run_together(*(lambda: give_back(order) for _ in range(8)))

    assert published(order).count("OrderRefundRequested") == 1
    assert published(order).count("OrderCancelled") == 1


def test_an_order_that_was_given_back_is_never_revived(settings):
    """Neither by its own payment, told again, nor by a second one that nobody should have made."""
    settings.PAID_ORDER_CANCELLATION_SECONDS = HOUR
    order = paid()
    give_back(order)

    deliver(succeeded(order))
    deliver(succeeded(order, "p2", 9))
    deliver(succeeded(order, "p2", 9))

    assert reload(order).is_cancelled
    assert published(order)[4:] == ["OrderRefundRequested"]
    assert payload(order, "OrderRefundRequested")["payment_id"] == "p2"


def test_only_what_is_left_is_asked_for_after_a_part_went_back(settings):
    settings.PAID_ORDER_CANCELLATION_SECONDS = HOUR
    order = paid()
    deliver(refund_of(order, 500, 500))

    give_back(order)

    assert Refund.objects.get(order=order, requested_by="buyer").amount_cents == 750


def test_a_part_that_went_back_leaves_the_order_paid():
    order = paid()

    deliver(refund_of(order, 500, 500))

    assert reload(order).is_complete
    assert published(order) == ["OrderCreated", "OrderCompleted"]


def test_the_last_part_that_went_back_ends_the_order_and_frees_the_ticket():
    order = paid()
    parts = [refund_of(order, 500, 500), refund_of(order, 750, ALL)]

    for part in (*parts, *parts):
        deliver(part)

    order = reload(order)
    assert (order.status, order.cancel_reason) == ("cancelled", "refunded")
    assert published(order)[2:] == ["OrderCancelled"]
    assert payload(order, "OrderCancelled")["reason"] == "refunded"
    assert order.refunds.count() == 2
    assert reserve(order.ticket_id, "another").is_open


def test_a_refund_of_the_form_before_ids_gives_back_everything():
    order = paid()

    deliver(refunded(order))
    deliver(refunded(order))

    assert reload(order).cancel_reason == "refunded"
    assert Refund.objects.get(order=order).amount_cents == ALL


def test_a_surplus_that_went_back_leaves_the_order_paid():
    order = paid()
    deliver(succeeded(order, "p2"))
    surplus = Refund.objects.get(order=order)

    deliver(refund_of(order, ALL, ALL, payment_id="p2", refund_id=str(surplus.pk)))

    assert reload(order).is_complete
    surplus.refresh_from_db()
    assert surplus.refunded_at == NOON


def test_a_refund_that_payments_named_before_we_named_any_is_the_one_we_asked_for():
    order = let_expire(reserve())
    reserve(order.ticket_id, "another")
    deliver(succeeded(order))

    deliver(refund_of(order, ALL, ALL, requested_by="system"))

    assert Refund.objects.get(order=order).refunded_at == NOON


def test_a_success_that_is_heard_after_all_went_back_ends_an_open_order():
    """Out of the dead letters, say. Otherwise its ticket would be held for ever."""
    order = reserve()
    deliver(refund_of(order, ALL, ALL))

    deliver(succeeded(order))

    assert published(order) == ["OrderCreated", "OrderCancelled"]
    assert reserve(order.ticket_id, "another").is_open


def test_a_success_that_is_heard_after_a_part_went_back_completes_the_order():
    order = reserve()
    deliver(refund_of(order, 500, 500))

    deliver(succeeded(order))

    assert reload(order).is_complete


def test_a_refund_is_on_its_way_from_its_request_on():
    order = paid()
    request = refund_requested(order, 500)

    deliver(request)
    assert Refund.objects.get(order=order).is_on_its_way
    deliver(refund_of(order, 500, 500, refund_id=request.refund_id))
    deliver(request)

    refund = Refund.objects.get(order=order)
    assert (refund.amount_cents, refund.refunded_at) == (500, NOON)


def test_what_was_asked_for_beside_a_refund_of_everything_is_not_on_its_way(settings):
    settings.PAID_ORDER_CANCELLATION_SECONDS = HOUR
    order = paid()
    give_back(order)

    deliver(refund_of(order, ALL, ALL))

    refund = Refund.objects.get(order=order)
    assert (refund.requested_by, refund.refunded_at) == ("staff:ada@example.com", NOON)


def test_a_refund_that_failed_says_so_and_the_order_stays_cancelled():
    order = paid()
    given = refund_of(order, ALL, ALL)
    deliver(given)

    deliver(refund_failed(order, given.refund_id))

    assert Refund.objects.get(order=order).failed_at == NOON
    assert reload(order).is_cancelled
    assert cancel(order).is_cancelled


def test_a_dispute_that_is_lost_ends_the_order_as_a_refund_would():
    order = paid()

    for version, status in enumerate(("needs_response", "under_review"), 4):
        deliver(disputed(order, status, version))
    assert reload(order).is_complete
    for _ in range(2):
        deliver(disputed(order, "lost", 6, returned_total_cents=ALL))

    order = reload(order)
    assert (order.status, order.cancel_reason) == ("cancelled", "refunded")
    assert published(order) == ["OrderCreated", "OrderCompleted", "OrderCancelled"]
    assert payload(order, "OrderCancelled")["payment_id"] == "p1"
    deliver(succeeded(order, "p2", 9))
    assert reload(order).is_cancelled
    assert reserve(order.ticket_id, "another").is_open


def test_a_refund_and_a_dispute_that_make_up_all_of_it_end_the_order():
    order = paid()

    deliver(disputed(order, "lost", 4, returned_total_cents=ALL - 100))
    assert reload(order).is_complete
    deliver(refund_of(order, 100, 100, version=5, returned_total_cents=ALL))

    assert reload(order).is_cancelled


def test_a_dispute_about_another_payment_leaves_the_order_alone():
    order = paid()

    deliver(disputed(order, "lost", 4, payment_id="p2", returned_total_cents=ALL))

    assert reload(order).is_complete
