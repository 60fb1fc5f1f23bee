"""Money that staff give back in the admin, from their click to the buyer's page and the ticket."""

from __future__ import annotations

from decimal import Decimal

from playwright.sync_api import Page

from tests.e2e import pages
from tests.e2e.people import make_title
from tests.e2e.stack import Stack
from tests.e2e.test_admin import sign_in_as_staff

PRICE = Decimal("42.50")


def give_back(page: Page, address: str, amount: Decimal, reason: str) -> None:
    page.goto(address)
    page.get_by_role("link", name="Give money back").click()
    page.get_by_label("Amount").fill(f"{amount:.2f}")
    page.get_by_label("Reason").fill(reason)
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name=f"Give ${amount:.2f} back").click()
    pages.alert(page, "The provider is being asked.")


def test_staff_give_a_part_back_and_then_the_rest_which_frees_the_ticket(
    new_page, stack: Stack
) -> None:
    title = make_title()
    seller, buyer, other, staff = new_page(), new_page(), new_page(), new_page()
    pages.sign_up(seller)
    pages.sell(seller, title, f"{PRICE:.2f}")
    pages.sign_up(buyer)
    pages.find(buyer, title)
    ticket_address = buyer.url
    order_address = pages.reserve(buyer)
    pages.open_payment(buyer)
    pages.pay(buyer)
    pages.heading(buyer, "The ticket is yours")
    order_id = order_address.rstrip("/").rpartition("/")[2]
    payment = f"/payments/admin/payments/payment/{order_id}/change/"
    sign_in_as_staff(staff, stack, payment)

    part = Decimal("12.50")
    give_back(staff, payment, part, "The first act was cut.")
    pages.told_at(buyer, order_address, f"${part:.2f} went back to you")
    pages.heading(buyer, "The ticket is yours")

    give_back(staff, payment, PRICE - part, "The second act, too.")
    pages.told_at(buyer, order_address, "The order was refunded")

    pages.sign_up(other)
    other.goto(ticket_address)
    pages.reserve(other)
    staff.goto("/payments/admin/payments/ledgertransaction/check/")
    pages.alert(staff, "The ledger balances")
