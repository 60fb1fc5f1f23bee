"""What happened to an order: for its buyer in plain words, for staff event by event."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.e2e import pages
from tests.e2e.people import make_title
from tests.e2e.stack import Stack
from tests.e2e.test_admin import sign_in_as_staff


def test_an_order_tells_its_buyer_and_staff_what_happened_to_it(new_page, stack: Stack) -> None:
    title = make_title()
    seller, buyer, staff = new_page(), new_page(), new_page()
    pages.sign_up(seller)
    pages.sell(seller, title)
    pages.sign_up(buyer)
    pages.find(buyer, title)
    order_address = pages.reserve(buyer)
    pages.open_payment(buyer)
    pages.pay(buyer, "0002")
    pages.alert(buyer, "Your card was declined.")
    pages.pay(buyer)
    pages.heading(buyer, "The ticket is yours")

    pages.told_at(buyer, order_address, "We sent you the ticket by mail.")
    told = buyer.get_by_role("region", name="What happened").get_by_role("listitem")
    expect(told).to_contain_text(
        [
            *("You reserved the ticket.", "You began to pay."),
            *("did not go through. Your card was declined.", "You tried to pay again."),
            *("Your payment of $42.50 arrived.", "The ticket became yours."),
        ]
    )

    order_id = order_address.rstrip("/").rpartition("/")[2]
    sign_in_as_staff(staff, stack, f"/orders/admin/orders/order/{order_id}/change/")
    staff.get_by_role("link", name="What happened").click()
    lines = staff.locator(".timeline__line")
    succeeded = lines.filter(has=staff.get_by_text("Payment succeeded", exact=True))
    completed = lines.filter(has=staff.get_by_text("Order completed", exact=True))
    expect(succeeded).to_contain_text("because of payment started")
    expect(completed).to_contain_text("because of payment succeeded")
    cause = completed.get_by_role("link", name="payment succeeded")
    expect(cause).to_have_attribute("href", re.compile("^#e"))
