from __future__ import annotations

import pytest
from django.test import Client

from apps.tickets import selectors, services
from apps.tickets.models import Ticket
from apps.tickets.tests.factories import NOON, list_ticket, new_id, published, sign_in

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/tickets/admin/tickets/ticket/"


@pytest.fixture
def staff() -> Client:
    return sign_in(Client(), new_id(), is_staff=True)


def test_staff_find_listings(staff):
    ticket = list_ticket(title="Nine Owls", price_cents=1999)
    list_ticket(title="Harbour Hall")

    for search in ("owl", str(ticket.pk), ticket.seller_id):
        page = staff.get(LIST, {"q": search}).content.decode()
        assert "Nine Owls" in page
        assert "$19.99" in page
        assert "Harbour Hall" not in page
    assert "Harbour Hall" in staff.get(LIST, {"q": " "}).content.decode()


@pytest.mark.parametrize("search", ["(", ".*", "$where", "x" * 500, "1" * 24])
def test_no_search_whatever_breaks_the_admin(staff, search):
    list_ticket()

    assert staff.get(LIST, {"q": search}).status_code == 200


def test_search_that_finds_too_many_says_so(staff):
    services.import_tickets(
        [
            services.Listing(
                ticket_id=new_id(), seller_id="s", title="Owl", price_cents=100, listed_at=NOON
            )
            for _ in range(501)
        ]
    )

    assert "Only the newest 500" in staff.get(LIST, {"q": "owl"}).content.decode()


def test_nothing_is_typed_into_a_listing_past_its_events(staff):
    ticket = list_ticket(title="Nine Owls")
    page = f"{LIST}{ticket.pk}/change/"

    assert staff.get(page).status_code == 200
    assert staff.post(page, {"title": "Changed"}).status_code == 403
    assert staff.post(f"{LIST}{ticket.pk}/delete/", {"post": "yes"}).status_code == 403
    assert staff.get(f"{LIST}add/").status_code == 403
    assert selectors.get_ticket(str(ticket.pk)).title == "Nine Owls"


def test_staff_take_listings_down_through_the_service(staff):
    free, reserved = list_ticket(title="Free"), list_ticket(title="Reserved")
    services.reserve_ticket(ticket_id=str(reserved.pk), order_id="order-a", now=NOON)

    response = staff.post(
        LIST,
        {"action": "take_down", "_selected_action": [str(free.pk), str(reserved.pk)]},
        follow=True,
    )

    page = response.content.decode()
    assert "Free: withdrawn." in page
    assert "Reserved: Cannot withdraw a reserved ticket." in page
    assert selectors.get_ticket(str(free.pk)).status == Ticket.Status.WITHDRAWN
    assert [event.version for event in published(free)] == [1, 2]


def test_customers_have_no_business_in_the_admin():
    customer = sign_in(Client(), new_id())

    assert customer.get(LIST).status_code == 302
