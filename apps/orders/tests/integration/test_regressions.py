"""Named after what went wrong in earlier implementations of the same design."""

from __future__ import annotations

from decimal import Decimal

import pytest

from apps.core.errors import NotSignedIn
from apps.orders import services
from apps.orders.events import TicketCreated
from apps.orders.models import OrderAlreadyPaid, Refund, TicketCopy
from apps.orders.tests.factories import NOON, new_id
from apps.orders.tests.story import (
    cancel,
    closed,
    deliver,
    expired,
    let_expire,
    published,
    refunded,
    reload,
    reserve,
    run_together,
    started,
    succeeded,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_second_event_of_one_payment_wedges_the_consumer():
    order = reserve()
    event_id = new_id()
    deliver(succeeded(order), event_id=event_id)

    assert deliver(succeeded(order), event_id=event_id) is False
    assert deliver(succeeded(order, version=9)) is True

    assert published(order) == ["OrderCreated", "OrderCompleted"]


def test_price_with_cents_is_poison_for_the_copy_of_the_ticket():
    event = TicketCreated(
        ticket_id=new_id(),
        version=1,
        title="Row 2",
        price_cents=1250,
        currency="usd",
        seller_id="seller",
    )
    deliver(event)

    order = reserve(event.ticket_id)

    assert TicketCopy.objects.get(pk=event.ticket_id).price_cents == 1250
    assert Decimal(reload(order).price_cents) / 100 == Decimal("12.50")


def test_second_payment_of_a_paid_order_is_kept_as_if_it_bought_something():
    order = reserve()
    deliver(succeeded(order, "p1"))

    deliver(succeeded(order, "p2", 5))
    deliver(succeeded(order, "p2", 5))

    assert reload(order).payment_id == "p1"
    assert published(order) == ["OrderCreated", "OrderCompleted", "OrderRefundRequested"]
    assert Refund.objects.get(order=order).reason == services.PAID_TWICE


def test_payment_after_cancellation_completes_an_order_whose_ticket_was_resold():
    order = let_expire(reserve())
    new_order = reserve(order.ticket_id, "another")
    deliver(succeeded(new_order, "p9"))

    deliver(succeeded(order))

    assert reload(order).is_cancelled
    assert reload(new_order).is_complete
    assert published(order)[-1] == "OrderRefundRequested"


def test_payment_after_cancellation_is_lost_although_the_ticket_is_free():
    order = let_expire(reserve())

    deliver(succeeded(order))

    assert reload(order).was_revived
    with pytest.raises(services.TicketAlreadyReserved):
        reserve(order.ticket_id, "another")


def test_payment_after_cancellation_revives_an_order_of_a_withdrawn_ticket():
    order = let_expire(reserve())
    TicketCopy.objects.filter(pk=order.ticket_id).update(is_withdrawn=True, version=5)

    deliver(succeeded(order))

    assert published(order)[-1] == "OrderRefundRequested"


def test_refunded_payment_that_is_replayed_buys_the_ticket_after_all():
    order = let_expire(reserve())
    other = reserve(order.ticket_id, "another")
    deliver(succeeded(order))
    deliver(refunded(order))
    cancel(other)

    deliver(succeeded(order))

    assert reload(order).is_cancelled
    assert published(order).count("OrderRefundRequested") == 1


def test_expiry_of_a_cancelled_order_frees_the_ticket_of_another_buyer():
    order = reserve()
    cancel(order)
    new_order = reserve(order.ticket_id, "another")

    deliver(expired(order))
    deliver(closed(order))
    deliver(expired(order))

    assert published(order) == ["OrderCreated", "OrderCancelled"]
    assert reload(new_order).is_open


def test_expiry_of_a_paid_order_cancels_it():
    order = reserve()
    deliver(succeeded(order))

    deliver(expired(order))
    deliver(closed(order))

    assert reload(order).is_complete
    assert published(order) == ["OrderCreated", "OrderCompleted"]


def test_paid_order_is_cancelled_without_a_refund():
    order = reserve()
    deliver(succeeded(order))

    with pytest.raises(OrderAlreadyPaid, match="A paid order cannot be cancelled"):
        cancel(order)

    assert published(order) == ["OrderCreated", "OrderCompleted"]


def test_versions_of_an_order_have_gaps_that_stop_its_readers():
    order = reserve()
    deliver(started(order))
    deliver(started(order, "p2", 2))
    deliver(expired(order))
    deliver(succeeded(order, "p2", 3))
    deliver(succeeded(order, "p3", 4))
    deliver(refunded(order, "p3", 5))

    assert published(order) == [
        "OrderCreated",
        "OrderAwaitingPayment",
        "OrderExpired",
        "OrderCompleted",
        "OrderRefundRequested",
    ]
    assert reload(order).version == 5


def test_deletion_of_anothers_cancelled_order_is_answered_as_if_it_were_ones_own():
    order = reserve()
    cancel(order)

    with pytest.raises(NotSignedIn):
        services.cancel_order(order_id=str(order.pk), buyer_id="another", now=NOON)


def test_loser_of_a_race_reads_that_something_went_wrong():
    order = reserve()
    cancel(order)

    outcomes = run_together(
        *(lambda n=n: reserve(order.ticket_id, f"buyer-{n}") for n in range(10))
    )

    refusals = [each for each in outcomes if isinstance(each, Exception)]
    assert [str(each) for each in refusals] == ["Ticket is already reserved"] * 9
