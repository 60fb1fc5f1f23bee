"""The main journeys in a real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.e2e import pages
from tests.e2e.people import make_title
from tests.e2e.stack import LONGEST_WINDOW_SECONDS

EXPIRY_MS = (LONGEST_WINDOW_SECONDS + 10) * 1000


def list_ticket(new_page) -> str:
    """Have somebody list a ticket, and return its title."""
    title = make_title()
    page = new_page()
    pages.sign_up(page)
    pages.sell(page, title)
    return title


@pytest.mark.parametrize("javascript", [True, False], ids=["with scripts", "without scripts"])
def test_one_person_lists_a_ticket_and_another_buys_it(new_page, javascript) -> None:
    title = make_title()
    seller = new_page(java_script_enabled=javascript)
    buyer = new_page(java_script_enabled=javascript)

    pages.sign_up(seller)
    ticket_address = pages.sell(seller, title)
    pages.sign_up(buyer)
    pages.find(buyer, title)
    order_address = pages.reserve(buyer)
    pages.open_payment(buyer)
    pages.pay(buyer)

    pages.heading(buyer, "The ticket is yours")
    assert buyer.url.startswith(order_address)
    buyer.goto("/orders/")
    expect(buyer.get_by_role("listitem").filter(has_text=title)).to_contain_text("Paid")
    seller.goto(ticket_address)
    pages.alert(seller, "Sold.")


def test_signed_out_buyer_is_sent_to_sign_in_and_back(new_page) -> None:
    title = list_ticket(new_page)
    buyer = new_page()

    pages.find(buyer, title)
    address = buyer.url
    buyer.get_by_role("link", name="Sign in to reserve").click()
    buyer.get_by_role("link", name="Sign up").last.click()
    pages.fill_sign_up(buyer)

    expect(buyer).to_have_url(address)
    pages.reserve(buyer)


def test_slower_of_two_buyers_is_told_that_the_ticket_is_gone(new_page) -> None:
    title = list_ticket(new_page)
    quick, slow = new_page(), new_page()
    for buyer in (quick, slow):
        pages.sign_up(buyer)
        pages.find(buyer, title)

    pages.reserve(quick)
    slow.get_by_role("button", name="Reserve this ticket").click()

    pages.alert(slow, "Somebody else was quicker")


def test_reservation_that_is_not_paid_ends_before_the_buyers_eyes(new_page) -> None:
    title = list_ticket(new_page)
    buyer = new_page()
    pages.sign_up(buyer)
    pages.find(buyer, title)
    ticket_address = buyer.url
    pages.reserve(buyer)

    expect(buyer.locator(".countdown")).to_contain_text("left")
    expect(buyer.get_by_role("heading", name="The reservation expired")).to_be_visible(
        timeout=EXPIRY_MS
    )

    buyer.goto(ticket_address)
    expect(buyer.get_by_role("button", name="Reserve this ticket")).to_be_visible()


def test_payment_is_confirmed_at_the_bank_after_it_was_refused_there_once(new_page) -> None:
    title = list_ticket(new_page)
    buyer = new_page()
    pages.sign_up(buyer)
    pages.find(buyer, title)
    pages.reserve(buyer)

    pages.open_payment(buyer)
    pages.pay(buyer, "3184")
    pages.heading(buyer, "Is this payment yours?")
    buyer.get_by_role("button", name="No, refuse it").click()
    pages.alert(buyer, "Your payment did not go through.")
    pages.open_payment(buyer)
    pages.pay(buyer, "3184")
    pages.heading(buyer, "Is this payment yours?")
    buyer.get_by_role("button", name="Yes, confirm it").click()

    pages.heading(buyer, "The ticket is yours")


def test_declined_card_is_explained_and_a_good_one_buys_the_ticket(new_page) -> None:
    title = list_ticket(new_page)
    buyer = new_page()
    pages.sign_up(buyer)
    pages.find(buyer, title)
    pages.reserve(buyer)
    pages.open_payment(buyer)

    pages.pay(buyer, card="0002")
    pages.heading(buyer, "Try another card")
    pages.alert(buyer, "Your card was declined.")
    pages.pay(buyer, card="4242")

    pages.heading(buyer, "The ticket is yours")


def test_cancelled_order_frees_the_ticket(new_page) -> None:
    title = list_ticket(new_page)
    buyer, other = new_page(), new_page()
    pages.sign_up(buyer)
    pages.find(buyer, title)
    ticket_address = buyer.url
    pages.reserve(buyer)

    pages.cancel(buyer)
    pages.heading(buyer, "You cancelled this order")

    pages.sign_up(other)
    other.goto(ticket_address)
    pages.reserve(other)


@pytest.mark.parametrize("title", ['<b>Row 1</b> & "Björk"', "Ряд 7, 東京 🎟"])
def test_title_is_shown_as_it_was_written(new_page, title: str) -> None:
    page = new_page()
    pages.sign_up(page)

    pages.sell(page, title)

    expect(page.get_by_role("heading", level=1)).to_have_text(title)
