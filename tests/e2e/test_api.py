"""The journeys of a program that speaks API v1, with the course's routes and field names."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta

import pytest

from tests.e2e.people import DECLINED_CARD, Person, signed_up
from tests.e2e.stack import eventually

BUYERS = 50


def messages_of(answer) -> list[str]:
    return [error["message"] for error in answer.json()["errors"]]


@pytest.mark.parametrize("sign", ["cookie", "bearer"])
def test_ticket_is_bought_with_the_field_names_of_the_course(
    seller: Person, buyer: Person, sign: str
) -> None:
    if sign == "bearer":
        seller.use_bearer_token()
        buyer.use_bearer_token()

    ticket = seller.list_ticket(price="12.50")
    order = buyer.reserve(ticket["id"])
    paid = buyer.pay(order["id"])
    complete = buyer.wait_for_status(order["id"], "complete")

    assert ticket["price"] == 12.5
    assert (ticket["userId"], ticket["version"]) == (seller.id, 1)
    assert (order["userId"], order["status"], order["ticketId"]) == (
        buyer.id,
        "created",
        ticket["id"],
    )
    assert order["ticket"] == {
        "id": ticket["id"],
        "title": ticket["title"],
        "price": 12.5,
        "version": 1,
    }
    assert paid.status_code == 201
    assert set(paid.json()) == {"id"}
    assert complete["version"] > order["version"]
    assert seller.see_ticket(ticket["id"])["orderId"] == order["id"]


def test_currentuser_tells_who_is_signed_in(buyer: Person) -> None:
    signed_in = buyer.http.get("/api/users/currentuser").json()["currentUser"]
    buyer.http.post("/api/users/signout", json={})
    signed_out = buyer.http.get("/api/users/currentuser").json()

    assert (signed_in["id"], signed_in["email"]) == (buyer.id, buyer.email)
    assert isinstance(signed_in["iat"], int)
    assert signed_out == {"currentUser": None}


def test_reserved_ticket_leaves_the_listing_and_cannot_be_edited(
    seller: Person, buyer: Person
) -> None:
    ticket = seller.list_ticket()
    order = buyer.reserve(ticket["id"])
    buyer.wait_until_held(ticket["id"], order["id"])

    edit = seller.http.put(
        f"/api/tickets/{ticket['id']}", json={"title": ticket["title"], "price": 99}
    )
    listed = {each["id"] for each in seller.http.get("/api/tickets").json()}

    assert (edit.status_code, messages_of(edit)) == (400, ["Cannot edit a reserved ticket"])
    assert ticket["id"] not in listed


def test_second_buyer_is_told_that_the_ticket_is_reserved(
    seller: Person, buyer: Person, sign_up: Callable[[], Person]
) -> None:
    ticket = seller.list_ticket()
    buyer.reserve(ticket["id"])

    answer = sign_up().try_to_reserve(ticket["id"])

    assert (answer.status_code, messages_of(answer)) == (400, ["Ticket is already reserved"])


def test_of_fifty_buyers_of_one_ticket_one_wins(seller: Person, base_url: str) -> None:
    ticket = seller.list_ticket()
    with ExitStack() as people, ThreadPoolExecutor(max_workers=BUYERS) as pool:
        buyers = list(pool.map(lambda _: people.enter_context(signed_up(base_url)), range(BUYERS)))

        answers = list(pool.map(lambda each: each.try_to_reserve(ticket["id"]), buyers))

        winners = [answer.json() for answer in answers if answer.status_code == 201]
        refusals = [messages_of(answer) for answer in answers if answer.status_code == 400]
        assert len(winners) == 1
        assert refusals == [["Ticket is already reserved"]] * (BUYERS - 1)
        orders = [each.http.get("/api/orders").json() for each in buyers]
        assert sum(len(own) for own in orders) == 1
    held = seller.wait_until_held(ticket["id"], winners[0]["id"])
    assert held["version"] == 2


def test_declined_card_leaves_the_reservation_and_a_good_one_buys_it(
    seller: Person, buyer: Person
) -> None:
    order = buyer.reserve(seller.list_ticket()["id"])

    declined = buyer.pay(order["id"], DECLINED_CARD)
    paid = buyer.pay(order["id"])

    assert declined.status_code == 400
    assert "declined" in messages_of(declined)[0]
    assert paid.status_code == 201
    buyer.wait_for_status(order["id"], "complete")


def test_paid_order_can_neither_be_paid_nor_cancelled_again(seller: Person, buyer: Person) -> None:
    order = buyer.reserve(seller.list_ticket()["id"])
    buyer.pay(order["id"])
    buyer.wait_for_status(order["id"], "complete")

    again = buyer.pay(order["id"])
    cancelled = buyer.cancel(order["id"])

    assert again.status_code == 400
    assert cancelled.status_code == 400
    assert buyer.see_order(order["id"])["status"] == "complete"


def test_cancelled_order_frees_its_ticket_for_the_next_buyer(
    seller: Person, buyer: Person, sign_up: Callable[[], Person]
) -> None:
    ticket = seller.list_ticket()
    order = buyer.reserve(ticket["id"])
    buyer.wait_until_held(ticket["id"], order["id"])

    assert buyer.cancel(order["id"]).status_code == 204
    assert buyer.cancel(order["id"]).status_code == 204

    buyer.wait_until_free(ticket["id"])
    assert buyer.see_order(order["id"])["status"] == "cancelled"
    assert eventually(lambda: buyer.pay(order["id"])).status_code == 400
    assert sign_up().reserve(ticket["id"])["ticketId"] == ticket["id"]


def test_late_and_repeated_cancel_does_not_free_another_buyers_ticket(
    seller: Person, buyer: Person, sign_up: Callable[[], Person]
) -> None:
    """Defect 13: a stale cancel released whatever hold it found."""
    ticket = seller.list_ticket()
    first = buyer.reserve(ticket["id"])
    buyer.cancel(first["id"])
    buyer.wait_until_free(ticket["id"])
    other = sign_up()
    second = other.reserve(ticket["id"])
    other.wait_until_held(ticket["id"], second["id"])

    buyer.cancel(first["id"])
    other.pay(second["id"])

    other.wait_for_status(second["id"], "complete")
    assert other.see_ticket(ticket["id"])["orderId"] == second["id"]


def test_order_of_somebody_else_is_not_authorized_even_when_cancelled(
    seller: Person, buyer: Person, sign_up: Callable[[], Person]
) -> None:
    """Defect 15: cancelling a stranger's cancelled order answered 204."""
    order = buyer.reserve(seller.list_ticket()["id"])
    stranger = sign_up()

    assert stranger.cancel(order["id"]).status_code == 401
    buyer.cancel(order["id"])
    assert stranger.cancel(order["id"]).status_code == 401
    assert stranger.http.get(f"/api/orders/{order['id']}").status_code == 401


def test_unpaid_order_is_cancelled_and_its_ticket_free_after_its_deadline(
    seller: Person, buyer: Person
) -> None:
    ticket = seller.list_ticket()
    order = buyer.reserve(ticket["id"])
    buyer.wait_until_held(ticket["id"], order["id"])

    lateness = buyer.wait_for_end(order)

    assert lateness >= timedelta(0)
    assert buyer.pay(order["id"]).status_code == 400
