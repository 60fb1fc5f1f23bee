from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.db import IntegrityError

from apps.core.errors import NotSignedIn
from apps.orders import services
from apps.orders.events import TicketCreated, TicketUpdated
from apps.orders.models import Order, OrderAlreadyPaid, Refund, TicketCopy
from apps.orders.selectors import OrderNotFound
from apps.orders.tests.factories import NOON, list_ticket, make_order, new_id
from apps.orders.tests.story import (
    cancel,
    closed,
    deliver,
    expired,
    failed,
    let_expire,
    payload,
    published,
    refunded,
    reload,
    reserve,
    started,
    succeeded,
)

pytestmark = pytest.mark.django_db(transaction=True)

Status = Order.Status


def ticket_event(kind=TicketUpdated, **overrides):
    facts = {
        "ticket_id": new_id(),
        "version": 1,
        "title": "Front row",
        "price_cents": 1250,
        "currency": "usd",
        "seller_id": "seller",
    }
    return kind(**facts | overrides)


def test_reservation_takes_the_ticket_as_it_is_known_and_says_so():
    ticket = list_ticket(title="Gallery ☂ <b>", price_cents=999, version=7)

    order = reserve(ticket.ticket_id)

    assert reload(order).price_cents == 999
    facts = payload(order, "OrderCreated")
    assert facts["ticket_title"] == "Gallery ☂ <b>"
    assert (facts["ticket_version"], facts["price_cents"], facts["status"]) == (7, 999, "created")
    window = timedelta(seconds=settings.EXPIRATION_WINDOW_SECONDS)
    assert order.expires_at == NOON + window
    assert facts["expires_at"] == int((NOON + window).timestamp() * 1000)


def test_deadline_is_the_same_instant_in_the_row_and_in_the_event():
    now = NOON.replace(microsecond=123_999)

    order = services.create_order(ticket_id=list_ticket().ticket_id, buyer_id="b", now=now)

    sent = payload(order, "OrderCreated")["expires_at"]
    assert sent == round(reload(order).expires_at.timestamp() * 1000, 6)


@pytest.mark.parametrize("ticket_id", ["", "unknown", "no\x00such", "\ud800", "x" * 1000, "a b"])
def test_unknown_or_malformed_ticket_is_not_found(ticket_id):
    with pytest.raises(services.TicketNotFound):
        reserve(ticket_id or " ")


def test_withdrawn_ticket_is_not_found():
    with pytest.raises(services.TicketNotFound):
        reserve(list_ticket(is_withdrawn=True).ticket_id)


@pytest.mark.parametrize("status", Order.CLAIMING)
def test_claimed_ticket_is_refused_with_its_reason(status):
    ticket = list_ticket()
    facts = {"payment_id": "p1"} if status == Status.COMPLETE else {}
    make_order(ticket_id=ticket.ticket_id, status=status, **facts).save()

    with pytest.raises(services.TicketAlreadyReserved, match="Ticket is already reserved") as info:
        reserve(ticket.ticket_id, "another")

    assert info.value.own_order_id == ""


def test_buyer_who_holds_the_ticket_is_told_the_order():
    order = reserve()

    with pytest.raises(services.TicketAlreadyReserved) as info:
        reserve(order.ticket_id)

    assert info.value.own_order_id == str(order.pk)
    assert Order.objects.filter(ticket_id=order.ticket_id).count() == 1


def test_who_comes_too_late_costs_one_statement(django_assert_num_queries):
    order = reserve()

    with django_assert_num_queries(1), pytest.raises(services.TicketAlreadyReserved):
        reserve(order.ticket_id, "another")


def test_reservation_is_five_statements_and_their_transaction(django_assert_num_queries):
    ticket = list_ticket()

    with django_assert_num_queries(5 + 2):
        reserve(ticket.ticket_id)


def test_index_refuses_a_second_claim_whoever_writes_it():
    order = reserve()

    with pytest.raises(IntegrityError):
        make_order(ticket_id=order.ticket_id).save()


def test_ticket_is_free_again_after_a_cancellation_that_tickets_has_not_heard_of():
    order = reserve()
    TicketCopy.objects.filter(pk=order.ticket_id).update(order_id=str(order.pk), version=2)
    cancel(order)

    assert reserve(order.ticket_id, "another").is_open


@pytest.mark.parametrize("holder", ["019ab3c0-5b1e-7c3a-9d52-6f0d4c1be0a7", "no uuid"])
def test_ticket_held_by_an_order_unknown_here_is_refused(holder):
    ticket = list_ticket(order_id=holder)

    with pytest.raises(services.TicketAlreadyReserved):
        reserve(ticket.ticket_id)


def test_cancellation_is_told_once_however_often_it_is_asked_for():
    order = reserve()

    cancel(order)
    cancel(order)

    assert reload(order).is_cancelled
    assert published(order) == ["OrderCreated", "OrderCancelled"]
    assert payload(order, "OrderCancelled")["reason"] == "buyer"


def test_order_of_nobody_is_not_found():
    for order_id in (new_id(), "nonsense", ""):
        with pytest.raises(OrderNotFound):
            services.cancel_order(order_id=order_id, buyer_id="buyer", now=NOON)


def test_order_is_paid():
    order = reserve()

    deliver(started(order))
    deliver(succeeded(order))

    assert published(order) == ["OrderCreated", "OrderAwaitingPayment", "OrderCompleted"]
    assert payload(order, "OrderCompleted")["payment_id"] == "p1"
    assert reload(order).open_payment_id == ""


def test_payment_that_succeeded_is_heard_of_before_it_started():
    order = reserve()

    deliver(succeeded(order))
    deliver(started(order))

    assert published(order) == ["OrderCreated", "OrderCompleted"]
    assert reload(order).open_payment_id == ""


def test_declined_payment_keeps_the_claim_and_a_second_card_completes_it():
    order = reserve()

    deliver(started(order))
    deliver(failed(order))
    after_failure = reload(order)
    deliver(started(order, "p2", 3))
    after_start = reload(order)
    deliver(succeeded(order, "p2", 4))

    assert (after_failure.status, after_failure.payment_failure) == (
        Status.AWAITING_PAYMENT,
        "Your card was declined.",
    )
    assert (after_start.open_payment_id, after_start.payment_failure) == ("p2", "")
    assert reload(order).payment_id == "p2"
    assert published(order) == ["OrderCreated", "OrderAwaitingPayment", "OrderCompleted"]


def test_failure_of_an_older_attempt_says_nothing_about_the_open_one():
    order = reserve()
    deliver(started(order, "p2", 3))

    deliver(failed(order, "p1", 2))
    deliver(failed(order, "p1", 4))

    assert (reload(order).open_payment_id, reload(order).payment_failure) == ("p2", "")


def test_failure_that_overtakes_its_start_is_not_undone_by_it():
    order = reserve()

    deliver(failed(order, "p1", 2))
    deliver(started(order, "p1", 1))

    assert reload(order).payment_failure == "Your card was declined."
    assert reload(order).open_payment_id == ""


def test_expiry_holds_the_ticket_until_the_payments_have_closed():
    order = reserve()

    deliver(expired(order))
    with pytest.raises(services.TicketAlreadyReserved):
        reserve(order.ticket_id, "another")
    deliver(closed(order))

    assert reload(order).is_cancelled
    assert published(order) == ["OrderCreated", "OrderExpired", "OrderCancelled"]
    assert payload(order, "OrderCancelled")["reason"] == "expired"
    assert reserve(order.ticket_id, "another").is_open


def test_payments_that_closed_first_end_the_order_at_its_expiry():
    order = reserve()

    deliver(closed(order))
    assert reload(order).is_open
    deliver(expired(order))

    assert published(order) == ["OrderCreated", "OrderExpired", "OrderCancelled"]
    assert reload(order).is_cancelled


def test_payment_found_after_the_expiry_completes_the_order():
    order = reserve()

    deliver(started(order))
    deliver(expired(order))
    deliver(succeeded(order))
    deliver(closed(order))

    assert reload(order).is_complete
    assert not reload(order).was_revived
    assert published(order)[-1] == "OrderCompleted"


def test_payment_started_while_the_time_ran_out_is_awaited():
    order = reserve()

    deliver(expired(order))
    deliver(started(order))

    assert reload(order).status == Status.AWAITING_PAYMENT
    assert reload(order).expired_at is not None


def test_payment_of_a_wrong_amount_goes_back_and_the_order_stays_open():
    order = reserve()

    deliver(succeeded(order, amount_cents=1))
    deliver(succeeded(order, "p2", currency="eur"))

    assert reload(order).is_open
    refunds = dict(Refund.objects.filter(order=order).values_list("payment_id", "amount_cents"))
    assert refunds == {"p1": 1, "p2": 1250}
    assert payload(order, "OrderRefundRequested")["reason"] == services.WRONG_AMOUNT


def test_refund_is_noted_with_its_time_and_reason():
    order = let_expire(reserve())
    reserve(order.ticket_id, "another")
    deliver(succeeded(order))

    deliver(refunded(order))

    refund = Refund.objects.get(payment_id="p1", order=order)
    assert (refund.refunded_at, refund.reason) == (NOON, "The ticket was gone.")
    assert refund.requested_at is not None


def test_refund_that_was_not_asked_for_is_noted_too_and_is_never_paid_out_as_a_ticket():
    order = let_expire(reserve())

    deliver(refunded(order))
    deliver(succeeded(order))

    assert reload(order).is_cancelled
    assert "OrderRefundRequested" not in published(order)


def test_refunds_of_two_orders_are_two_even_if_their_payments_are_called_alike():
    orders = [let_expire(reserve()), let_expire(reserve())]

    for order in orders:
        reserve(order.ticket_id, "another")
        deliver(succeeded(order, "p1"))
    deliver(refunded(orders[0], "p1"))

    assert [published(order)[-1] for order in orders] == ["OrderRefundRequested"] * 2
    assert Refund.objects.get(order=orders[1]).refunded_at is None


@pytest.mark.parametrize("event", [started, succeeded, failed, closed, refunded, expired])
def test_event_of_an_unknown_order_is_refused_loudly(event):
    with pytest.raises(OrderNotFound):
        deliver(event(make_order()))


def test_copy_of_a_ticket_follows_only_newer_versions():
    first = ticket_event(TicketCreated)
    third = ticket_event(
        ticket_id=first.ticket_id, version=3, title="Third", order_id="o", is_withdrawn=True
    )
    second = ticket_event(ticket_id=first.ticket_id, version=2, title="Second")

    for event in (first, third, second, first):
        deliver(event)

    copy = TicketCopy.objects.get(pk=first.ticket_id)
    assert (copy.version, copy.title, copy.order_id, copy.is_withdrawn) == (3, "Third", "o", True)


def test_copy_begins_with_whatever_event_comes_first():
    event = ticket_event(version=5, price_cents=1250, title="x" * 10_000)

    deliver(event)

    assert TicketCopy.objects.get(pk=event.ticket_id).version == 5


def test_stranger_is_refused_before_the_status_is_looked_at():
    order = reserve()
    deliver(succeeded(order))

    with pytest.raises(NotSignedIn):
        services.cancel_order(order_id=str(order.pk), buyer_id="another", now=NOON)
    with pytest.raises(OrderAlreadyPaid):
        cancel(order)
