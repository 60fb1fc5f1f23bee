from __future__ import annotations

import pytest

from apps.orders.models import Order, OrderAlreadyPaid, TransitionRefused, parse_order_id
from apps.orders.tests.factories import NOON, make_order

Status = Order.Status
Reason = Order.CancelReason


def test_new_order_is_reserved_at_its_first_version():
    order = make_order()

    assert (order.status, order.version, order.is_open) == (Status.CREATED, 1, True)


def test_payment_started_makes_the_order_await_it():
    order = make_order()

    order.await_payment()

    assert (order.status, order.version) == (Status.AWAITING_PAYMENT, 2)


@pytest.mark.parametrize("status", [Status.AWAITING_PAYMENT, Status.COMPLETE, Status.CANCELLED])
def test_only_a_reserved_order_awaits_a_payment(status):
    order = make_order(status=status)

    with pytest.raises(TransitionRefused):
        order.await_payment()

    assert (order.status, order.version) == (status, 1)


@pytest.mark.parametrize("status", Order.OPEN)
def test_open_order_completes(status):
    order = make_order(status=status, expired_at=NOON)

    order.complete(payment_id="p1", now=NOON)

    assert order.is_complete
    assert (order.payment_id, order.completed_at, order.version) == ("p1", NOON, 2)
    assert not order.was_revived


@pytest.mark.parametrize("status", [Status.COMPLETE, Status.CANCELLED])
def test_closed_order_does_not_complete_again(status):
    with pytest.raises(TransitionRefused):
        make_order(status=status).complete(payment_id="p1", now=NOON)


def test_cancelled_order_is_revived_and_says_so():
    order = make_order()
    order.cancel(reason=Reason.BUYER, now=NOON)

    order.revive(payment_id="p1", now=NOON)

    assert order.is_complete
    assert order.was_revived
    assert order.version == 3


@pytest.mark.parametrize("status", Order.CLAIMING)
def test_only_a_cancelled_order_is_revived(status):
    with pytest.raises(TransitionRefused):
        make_order(status=status).revive(payment_id="p1", now=NOON)


def test_expiry_keeps_the_claim():
    order = make_order()

    order.expire(now=NOON)

    assert order.is_open
    assert (order.expired_at, order.version) == (NOON, 2)


@pytest.mark.parametrize(
    "facts",
    [
        {"expired_at": NOON},
        {"status": Status.COMPLETE},
        {"status": Status.CANCELLED},
    ],
)
def test_order_expires_once_and_only_while_it_is_open(facts):
    with pytest.raises(TransitionRefused):
        make_order(**facts).expire(now=NOON)


@pytest.mark.parametrize("status", Order.OPEN)
def test_open_order_is_cancelled_for_a_reason(status):
    order = make_order(status=status)

    order.cancel(reason=Reason.EXPIRED, now=NOON)

    assert order.is_cancelled
    assert (order.cancel_reason, order.cancelled_at, order.version) == ("expired", NOON, 2)


def test_paid_order_cannot_be_cancelled():
    order = make_order(status=Status.COMPLETE)

    with pytest.raises(OrderAlreadyPaid, match="A paid order cannot be cancelled"):
        order.cancel(reason=Reason.BUYER, now=NOON)


def test_cancelled_order_is_not_cancelled_again():
    with pytest.raises(TransitionRefused):
        make_order(status=Status.CANCELLED).cancel(reason=Reason.BUYER, now=NOON)


def test_expired_order_is_over_only_when_its_payment_is_closed():
    assert not make_order().is_over
    assert not make_order(expired_at=NOON).is_over
    assert not make_order(payment_closed_at=NOON).is_over
    assert make_order(expired_at=NOON, payment_closed_at=NOON).is_over
    assert not make_order(status=Status.COMPLETE, expired_at=NOON, payment_closed_at=NOON).is_over


def test_request_for_a_refund_counts_as_a_change():
    order = make_order(status=Status.CANCELLED)

    order.request_refund()

    assert (order.status, order.version) == (Status.CANCELLED, 2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "x" * 36,
        "{019ab3c0-5b1e-7c3a-9d52-6f0d4c1be0a7}",
        "019ab3c05b1e7c3a9d526f0d4c1be0a7",
    ],
)
def test_malformed_order_id_names_no_order(text):
    assert parse_order_id(text) is None


def test_order_id_is_read_in_either_case():
    text = "019ab3c0-5b1e-7c3a-9d52-6f0d4c1be0a7"

    assert str(parse_order_id(text.upper())) == text
