from __future__ import annotations

from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client

from apps.tickets import selectors, services
from apps.tickets.models import Ticket
from apps.tickets.tests.factories import NOON, list_ticket, new_id, published, sign_in

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def seller_id() -> str:
    return new_id()


@pytest.fixture
def seller(seller_id: str) -> Client:
    return sign_in(Client(), seller_id)


def text(response: Any) -> str:
    return unescape(response.content.decode())


def said(response: Any) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]


def test_list_shows_the_newest_first_in_pages():
    for number in range(30):
        list_ticket(title=f"Owl number {number:02}", now=NOON + timedelta(seconds=number))

    first, second = text(Client().get("/")), text(Client().get("/?page=2"))

    assert "30 tickets for sale" in first
    assert first.index("Owl number 29") < first.index("Owl number 06")
    assert "Owl number 05" not in first
    assert "Owl number 05" in second


def test_list_is_searched_and_sorted():
    list_ticket(title="Café Zürich", price_cents=900)
    list_ticket(title="Cafeteria ball", price_cents=100)
    list_ticket(title="Harbour Hall")

    page = text(Client().get("/?q=CAFE&sort=cheapest"))

    assert page.index("Cafeteria ball") < page.index("Café Zürich")
    assert "Harbour Hall" not in page
    assert 'value="CAFE"' in page


def test_search_without_a_find_says_so_and_the_empty_market_invites():
    assert "No tickets for sale just now" in text(Client().get("/"))
    assert "Nothing for “<owls>”" in text(Client().get("/?q=<owls>"))
    assert b"<owls>" not in Client().get("/?q=<owls>").content


@pytest.mark.parametrize(
    "query",
    [
        "page=0", "page=-3", "page=abc", "page=999999999999999999999", "page=", "page=2&page=3",
        "sort=sideways", "q=%00", "q=%ff", "q[]=1", "q=.*", f"q={'x' * 500}",
    ],
)  # fmt: skip
def test_no_address_whatever_breaks_the_list(query):
    list_ticket()

    response = Client().get(f"/?{query}")

    assert response.status_code == 200


def test_html_in_a_title_stays_text():
    ticket = list_ticket(title="<script>alert('x')</script>")

    for address in ("/", f"/tickets/{ticket.pk}/"):
        page = Client().get(address).content
        assert b"<script>alert" not in page
        assert b"&lt;script&gt;alert" in page


def test_stranger_is_asked_to_sign_in_before_reserving_and_comes_back():
    ticket = list_ticket()

    page = text(Client().get(f"/tickets/{ticket.pk}/"))

    assert f'href="/auth/signin/?next=%2Ftickets%2F{ticket.pk}%2F"' in page
    assert "/orders/reserve/" not in page


def test_buyer_reserves_by_a_form_that_orders_takes(seller):
    ticket = list_ticket()

    page = text(seller.get(f"/tickets/{ticket.pk}/"))

    assert '<form method="post" action="/orders/reserve/">' in page
    assert f'name="ticket_id" value="{ticket.pk}"' in page
    assert "csrfmiddlewaretoken" in page
    assert "$42.50" in page


def test_seller_sees_own_controls_and_no_reservation(seller, seller_id):
    ticket = list_ticket(seller_id=seller_id)

    page = text(seller.get(f"/tickets/{ticket.pk}/"))

    assert f"/tickets/{ticket.pk}/edit/" in page
    assert f"/tickets/{ticket.pk}/withdraw/" in page
    assert "/orders/reserve/" not in page


def test_reserved_ticket_says_so_to_everybody(seller, seller_id):
    ticket = list_ticket(seller_id=seller_id)
    services.reserve_ticket(ticket_id=str(ticket.pk), order_id="order-a", now=NOON)

    assert "Somebody has reserved this ticket" in text(Client().get(f"/tickets/{ticket.pk}/"))
    own = text(seller.get(f"/tickets/{ticket.pk}/"))
    assert "A buyer has reserved it" in own
    assert f"/tickets/{ticket.pk}/edit/" not in own


def test_sold_ticket_says_so_to_everybody(seller, seller_id):
    ticket = list_ticket(seller_id=seller_id)
    services.sell_ticket(ticket_id=str(ticket.pk), order_id="order-a", now=NOON)

    assert "This ticket is sold" in text(Client().get(f"/tickets/{ticket.pk}/"))
    assert "Sold." in text(seller.get(f"/tickets/{ticket.pk}/"))


def test_withdrawn_ticket_says_so_and_its_seller_can_list_it_again(seller, seller_id):
    ticket = list_ticket(seller_id=seller_id)
    services.withdraw_ticket(ticket_id=str(ticket.pk), seller_id=seller_id, now=NOON)

    assert "Its seller has withdrawn this ticket" in text(Client().get(f"/tickets/{ticket.pk}/"))
    assert "List it again" in text(seller.get(f"/tickets/{ticket.pk}/"))

    response = seller.post(f"/tickets/{ticket.pk}/relist/")
    assert said(response) == ["The ticket is for sale again."]
    again = seller.post(f"/tickets/{ticket.pk}/relist/")
    assert said(again)[-1] == "This ticket is for sale already."


@pytest.mark.parametrize("page", ["", "edit/", "withdraw/"])
@pytest.mark.parametrize("ticket_id", ["junk", "0" * 24, "%00", "1" * 400])
def test_unknown_and_malformed_tickets_are_not_found(seller, ticket_id, page):
    assert seller.get(f"/tickets/{ticket_id}/{page}").status_code == 404


@pytest.mark.parametrize("page", ["edit", "withdraw", "relist"])
def test_change_of_an_unknown_ticket_is_not_found(seller, page):
    body = {"title": "x", "price": "1"}

    assert seller.post(f"/tickets/{new_id()}/{page}/", body).status_code == 404


@pytest.mark.parametrize(
    "address", ["/tickets/new/", "/tickets/mine/", f"/tickets/{'0' * 24}/edit/"]
)
def test_stranger_signs_in_first_and_comes_back(address):
    response = Client().get(address)

    assert response.status_code == 302
    assert response["Location"].startswith("/auth/signin/?next=%2Ftickets%2F")


def test_ticket_is_listed_by_the_form(seller, seller_id):
    response = seller.post("/tickets/new/", {"title": " Nine Owls ", "price": " 12.5 "})

    (ticket,) = selectors.list_seller_tickets(seller_id)
    assert response["Location"] == f"/tickets/{ticket.pk}/"
    assert said(response) == ["Your ticket is listed. Anybody can reserve it from now on."]
    assert (ticket.title, ticket.price_cents) == ("Nine Owls", 1250)
    assert len(published(ticket)) == 1


@pytest.mark.parametrize(
    ("title", "price", "message"),
    [
        ("", "10", "Title is required"),
        (" ", "10", "Title is required"),
        ("a\x00b", "10", "Null characters are not allowed."),
        ("a\u202eb", "10", "Title must be one line of text without control characters"),
        ("x" * 201, "10", "at most 200 characters"),
        ("x", "", "Price must be greater than 0"),
        ("x", "0", "Price must be greater than 0"),
        ("x", "-3", "Price must be greater than 0"),
        ("x", "12,50", "Price must be greater than 0"),
        ("x", "nan", "Price must be greater than 0"),
        ("x", "0.49", "Price must be at least 0.50: cards cannot be charged less"),
        ("x", "1.001", "Price must have at most two decimals"),
        ("x", "100001", "Price must be at most 100,000"),
        ("x", "9" * 50, "at most 32 characters"),
    ],
)
def test_form_says_what_is_wrong_and_keeps_what_was_typed(seller, seller_id, title, price, message):
    ticket = list_ticket(seller_id=seller_id)

    for address in ("/tickets/new/", f"/tickets/{ticket.pk}/edit/"):
        response = seller.post(address, {"title": title, "price": price})

        assert response.status_code == 400
        assert message in text(response)
        assert response.context["form"]["price"].value() == price
    assert Ticket.objects.filter(seller_id=seller_id).count() == 1


def test_ticket_is_edited_by_the_form(seller, seller_id):
    ticket = list_ticket(seller_id=seller_id, price_cents=1205)
    assert 'value="12.05"' in text(seller.get(f"/tickets/{ticket.pk}/edit/"))

    response = seller.post(f"/tickets/{ticket.pk}/edit/", {"title": "Nine Owls", "price": "10"})

    assert said(response) == ["Your changes are saved."]
    stored = selectors.get_ticket(str(ticket.pk))
    assert (stored.title, stored.price_cents, stored.version) == ("Nine Owls", 1000, 2)


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("page", ["edit", "withdraw"])
def test_ticket_reserved_meanwhile_says_so_instead_of_changing(seller, seller_id, page, method):
    ticket = list_ticket(seller_id=seller_id)
    services.reserve_ticket(ticket_id=str(ticket.pk), order_id="order-a", now=NOON)

    response = getattr(seller, method)(
        f"/tickets/{ticket.pk}/{page}/", {"title": "Nine Owls", "price": "10"}
    )

    assert response["Location"] == f"/tickets/{ticket.pk}/"
    assert said(response) == [f"Cannot {page} a reserved ticket."]
    assert selectors.get_ticket(str(ticket.pk)).version == 2


@pytest.mark.parametrize(
    ("page", "method"),
    [
        ("edit", "get"),
        ("edit", "post"),
        ("withdraw", "get"),
        ("withdraw", "post"),
        ("relist", "post"),
    ],
)
def test_ticket_of_somebody_else_stays_as_it_is(seller, page, method):
    ticket = list_ticket()

    response = getattr(seller, method)(
        f"/tickets/{ticket.pk}/{page}/", {"title": "Nine Owls", "price": "10"}
    )

    assert said(response) == ["Only its seller can change this ticket."]
    assert selectors.get_ticket(str(ticket.pk)).version == 1


def test_ticket_is_withdrawn_after_a_question(seller, seller_id):
    ticket = list_ticket(seller_id=seller_id)
    assert "Withdraw this ticket?" in text(seller.get(f"/tickets/{ticket.pk}/withdraw/"))
    assert selectors.get_ticket(str(ticket.pk)).is_free

    response = seller.post(f"/tickets/{ticket.pk}/withdraw/")

    assert "withdrawn" in said(response)[0]
    assert selectors.get_ticket(str(ticket.pk)).status == Ticket.Status.WITHDRAWN
    assert said(seller.post(f"/tickets/{ticket.pk}/withdraw/"))[-1] == (
        "This ticket is withdrawn already."
    )


def test_own_listings_are_shown_with_their_state(seller, seller_id):
    assert "You have not listed a ticket yet" in text(seller.get("/tickets/mine/"))
    sold = list_ticket(title="Nine Owls", seller_id=seller_id)
    services.sell_ticket(ticket_id=str(sold.pk), order_id="order-a", now=NOON)
    list_ticket(title="Somebody else's")

    page = text(seller.get("/tickets/mine/"))

    assert "Nine Owls" in page
    assert "badge--sold" in page
    assert "Somebody else's" not in page


def test_forms_without_the_sites_own_token_change_nothing(seller_id):
    client = sign_in(Client(enforce_csrf_checks=True), seller_id)

    response = client.post("/tickets/new/", {"title": "Nine Owls", "price": "10"})

    assert response.status_code == 403
    assert not Ticket.objects.filter(seller_id=seller_id).exists()


@pytest.mark.parametrize(
    ("method", "address"),
    [("post", "/"), ("post", "/tickets/mine/"), ("get", f"/tickets/{'0' * 24}/relist/")],
)
def test_other_methods_are_refused(seller, method, address):
    assert getattr(seller, method)(address).status_code == 405
