"""One sign-on of the staff for the administration of every service."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.e2e import pages
from tests.e2e.stack import Stack

SERVICES = ("auth", "tickets", "orders", "payments", "expiration")


def sign_in_as_staff(page: Page, stack: Stack, address: str) -> None:
    page.goto(address)
    pages.sign_in(page, stack.staff_email, stack.staff_password)
    expect(page).to_have_url(f"{stack.base_url}{address}")
    # The address changes before the page is there, and `all` and `count` do not wait for anything.
    page.wait_for_load_state()


@pytest.mark.parametrize("service", SERVICES)
def test_staff_sign_in_and_see_every_list_of_a_service(new_page, stack: Stack, service) -> None:
    page = new_page()
    sign_in_as_staff(page, stack, f"/{service}/admin/")

    lists = {link.get_attribute("href") for link in page.locator("#content-main th a").all()}

    assert lists
    for address in lists:
        answer = page.goto(address)
        assert answer.status == 200, address
        if page.locator("#result_list tbody th a").count():
            page.locator("#result_list tbody th a").first.click()
            expect(page.locator("#content")).to_be_visible()
            assert "Server Error" not in page.title(), address


def test_one_sign_on_opens_the_administration_of_every_service(new_page, stack: Stack) -> None:
    page = new_page()
    sign_in_as_staff(page, stack, "/orders/admin/")

    for service in SERVICES:
        page.goto(f"/{service}/admin/")
        expect(page.locator("#site-name")).to_be_visible()
        assert page.url == f"{stack.base_url}/{service}/admin/"


@pytest.mark.parametrize("service", SERVICES)
def test_customers_do_not_see_the_administration(new_page, stack: Stack, service) -> None:
    page = new_page()
    pages.sign_up(page)

    answer = page.goto(f"/{service}/admin/")

    assert answer.status == 403
    expect(page.locator("#content-main")).to_have_count(0)
