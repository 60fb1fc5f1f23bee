"""Two of everything at the same moment, on real connections: rules 1 to 4 of the design."""

from __future__ import annotations

from functools import partial

import pytest

from apps.orders import services
from apps.orders.models import Order, OrderAlreadyPaid, Refund
from apps.orders.tests.factories import list_ticket, new_id
from apps.orders.tests.story import (
    cancel,
    closed,
    deliver,
    expired,
    let_expire,
    published,
    reload,
    reserve,
    run_together,
    started,
    succeeded,
)

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 8


def test_of_fifty_buyers_one_has_the_ticket_and_all_others_read_why_not():
    ticket_id = list_ticket().ticket_id

    outcomes = run_together(*(partial(reserve, ticket_id, f"buyer-{n}") for n in range(50)))

    winners = [each for each in outcomes if isinstance(each, Order)]
    losers = [each for each in outcomes if isinstance(each, services.TicketAlreadyReserved)]
    assert (len(winners), len(losers)) == (1, 49)
    assert {each.message for each in losers} == {"Ticket is already reserved"}
    assert Order.objects.filter(ticket_id=ticket_id).get() == winners[0]
    assert published(winners[0]) == ["OrderCreated"]


def test_double_click_of_one_buyer_is_one_order():
    ticket_id = list_ticket().ticket_id

    outcomes = run_together(*(partial(reserve, ticket_id) for _ in range(6)))

    (order,) = (each for each in outcomes if isinstance(each, Order))
    refusals = [each for each in outcomes if each is not order]
    assert {each.own_order_id for each in refusals} == {str(order.pk)}


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_cancel_against_payment_ends_with_the_ticket_or_with_a_refusal(round_):
    order = reserve()
    deliver(started(order))

    cancelled, _ = run_together(partial(cancel, order), partial(deliver, succeeded(order)))

    assert reload(order).is_complete  # paid first, or revived: the ticket was free
    if isinstance(cancelled, OrderAlreadyPaid):
        assert published(order)[2:] == ["OrderCompleted"]
    else:
        assert published(order)[2:] == ["OrderCancelled", "OrderCompleted"]


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_expiry_against_payment_ends_with_the_ticket(round_):
    order = reserve()
    deliver(started(order))

    run_together(
        partial(deliver, expired(order)),
        partial(deliver, succeeded(order)),
        partial(deliver, expired(order)),
    )

    assert reload(order).is_complete
    assert published(order).count("OrderCompleted") == 1
    assert "OrderCancelled" not in published(order)


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_one_delivery_on_two_consumers_takes_effect_once(round_):
    order = reserve()
    event_id = new_id()
    once = partial(deliver, succeeded(order), event_id=event_id)

    outcomes = run_together(once, once, once)

    assert sorted(outcomes) == [False, False, True]
    assert published(order) == ["OrderCreated", "OrderCompleted"]


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_one_payment_told_by_two_events_is_refunded_once(round_):
    order = let_expire(reserve())
    reserve(order.ticket_id, "another")

    run_together(*(partial(deliver, succeeded(order)) for _ in range(4)))

    assert published(order).count("OrderRefundRequested") == 1
    assert Refund.objects.filter(order=order).count() == 1


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_late_payment_against_new_buyers_gives_the_ticket_to_exactly_one(round_):
    order = let_expire(reserve())
    new_buyers = [partial(reserve, order.ticket_id, f"new-{n}") for n in range(4)]

    outcomes = run_together(partial(deliver, succeeded(order)), *new_buyers)

    claims = Order.objects.filter(ticket_id=order.ticket_id, status__in=Order.CLAIMING)
    holder = claims.get()
    last = published(order)[-1]
    assert last == ("OrderCompleted" if holder == order else "OrderRefundRequested")
    wins = [each for each in outcomes[1:] if isinstance(each, Order)]
    refusals = [each for each in outcomes if isinstance(each, services.TicketAlreadyReserved)]
    assert len(wins) == (0 if holder == order else 1)
    assert len(wins) + len(refusals) == 4


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_cancel_against_the_end_of_the_payments_is_one_cancellation(round_):
    order = reserve()
    deliver(expired(order))

    run_together(partial(cancel, order), partial(deliver, closed(order)), partial(cancel, order))

    assert published(order) == ["OrderCreated", "OrderExpired", "OrderCancelled"]


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_two_late_payments_for_one_ticket_make_one_sale_and_one_refund(round_):
    first = let_expire(reserve())
    second = let_expire(reserve(first.ticket_id, "another"))

    run_together(
        partial(deliver, succeeded(first, "p1")), partial(deliver, succeeded(second, "p2"))
    )

    ends = {published(first)[-1], published(second)[-1]}
    assert ends == {"OrderCompleted", "OrderRefundRequested"}
    assert {reload(first).status, reload(second).status} == {"complete", "cancelled"}
