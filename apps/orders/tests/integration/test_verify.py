from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from apps.core.identity import COOKIE, issue_token
from apps.core.passes import Pass, sign_pass
from apps.orders.models import Order, OrderAlreadyPaid, TicketUsed
from apps.orders.tests.factories import NOON, make_order, new_id

pytestmark = pytest.mark.django_db(transaction=True)


def make_paid(**overrides):
    facts = {"status": "complete", "payment_id": new_id(), "completed_at": NOON}
    order = make_order(**(facts | overrides))
    order.save()
    return order


def address_of(order, **overrides):
    claims = {
        "order_id": str(order.pk),
        "ticket_id": order.ticket_id,
        "buyer_id": order.buyer_id,
    }
    return f"/orders/verify/{sign_pass(Pass(**(claims | overrides)))}/"


def browser(person, *, is_staff=False):
    client = Client()
    client.cookies[COOKIE] = issue_token(person, f"{person}@example.com", is_staff, timezone.now())
    return client


def test_a_stranger_is_asked_to_sign_in_first_and_comes_back():
    address = address_of(make_paid())

    response = Client().get(address)

    assert response.status_code == 302
    assert response["Location"].startswith("/auth/signin/?next=%2Forders%2Fverify%2F")


@pytest.mark.parametrize(("person", "is_staff"), [("seller", False), ("somebody", True)])
def test_the_seller_and_staff_see_that_a_paid_ticket_is_valid(person, is_staff):
    response = browser(person, is_staff=is_staff).get(address_of(make_paid()))

    assert response.status_code == 200
    assert "The ticket is valid" in response.text
    assert "Let in, and mark as used" in response.text


def test_a_ticket_lets_in_once():
    order = make_paid()
    seller = browser("seller")

    assert "Let them in" in seller.post(address_of(order)).text
    assert "was used before" in seller.post(address_of(order)).text
    assert "was used before" in seller.get(address_of(order)).text

    order.refresh_from_db()
    assert order.used_at is not None
    assert order.version == 1


def test_of_many_phones_at_once_one_lets_in():
    order = make_paid()
    address = address_of(order)
    start = threading.Barrier(6)
    answers = []

    def scan():
        client = browser("seller")
        start.wait()
        answers.append("Let them in" in client.post(address).text)
        connection.close()

    threads = [threading.Thread(target=scan) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(answers) == [False] * 5 + [True]


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"status": "created", "payment_id": ""}, "This ticket is not paid"),
        ({"status": "awaiting_payment", "payment_id": ""}, "This ticket is not paid"),
        (
            {"status": "cancelled", "payment_id": "", "cancelled_at": NOON},
            "This order was cancelled",
        ),
        ({"status": "cancelled", "cancelled_at": NOON}, "This ticket was refunded"),
    ],
)
def test_a_ticket_of_an_order_that_is_not_paid_lets_nobody_in(facts, words):
    order = make_paid(**facts)
    seller = browser("seller")

    assert words in seller.get(address_of(order)).text
    assert words in seller.post(address_of(order)).text

    order.refresh_from_db()
    assert order.used_at is None


def test_the_buyer_sees_that_it_is_theirs_and_cannot_use_it_up():
    order = make_paid()
    buyer = browser("buyer")

    assert "This is your ticket" in buyer.get(address_of(order)).text
    assert "This is your ticket" in buyer.post(address_of(order)).text

    order.refresh_from_db()
    assert order.used_at is None


def test_another_seller_learns_nothing():
    order = make_paid(ticket_title="A secret evening")

    response = browser("another").post(address_of(order))

    assert response.status_code == 403
    assert "A secret evening" not in response.text
    assert str(order.pk) not in response.text
    order.refresh_from_db()
    assert order.used_at is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _order: "/orders/verify/junk/",
        lambda order: address_of(order)[:-2] + "/",
        lambda order: address_of(order, order_id=new_id()),
        lambda order: address_of(order, order_id="junk"),
        lambda order: address_of(order, ticket_id="another"),
        lambda order: address_of(order, buyer_id="another"),
    ],
    ids=["junk", "cut", "no order", "no id", "another ticket", "another buyer"],
)
def test_a_code_that_is_not_of_this_order_is_refused(spoil):
    order = make_paid()
    seller = browser("seller")

    for response in (seller.get(spoil(order)), seller.post(spoil(order))):
        assert response.status_code == 404
        assert "This is no ticket of ours" in response.text

    order.refresh_from_db()
    assert order.used_at is None


def test_another_sites_page_cannot_use_a_ticket_up():
    client = Client(enforce_csrf_checks=True)
    client.cookies = browser("seller").cookies
    order = make_paid()

    assert client.post(address_of(order)).status_code == 403

    order.refresh_from_db()
    assert order.used_at is None


def test_a_used_ticket_cannot_be_given_back():
    order = make_paid()
    with pytest.raises(OrderAlreadyPaid):
        order.refuse_unless_returnable(within=timedelta(), now=NOON)
    browser("seller").post(address_of(order))
    order = Order.objects.get(pk=order.pk)

    with pytest.raises(TicketUsed):
        order.refuse_unless_returnable(within=timedelta(hours=1), now=NOON)
