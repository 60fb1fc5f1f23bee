"""What people do in the browser, by what they can see and name there."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.e2e.people import PASSWORD, make_email
from tests.e2e.stack import PATIENCE_SECONDS, eventually

PATIENCE_MS = PATIENCE_SECONDS * 1000


def heading(page: Page, words: str) -> None:
    """Wait until the page shows this heading, without reloading it by hand."""
    expect(page.get_by_role("heading", name=words)).to_be_visible(timeout=PATIENCE_MS)


def alert(page: Page, words: str) -> None:
    expect(page.get_by_text(words).first).to_be_visible(timeout=PATIENCE_MS)


def told_at(page: Page, address: str, words: str) -> None:
    """Open a page again and again until it says this: a settled order does not refresh itself."""

    def told() -> bool:
        page.goto(address)
        return page.get_by_text(words).first.is_visible()

    eventually(told, what=f"{address} to say {words!r}")


def sign_up(page: Page) -> str:
    page.goto("/auth/signup/")
    return fill_sign_up(page)


def fill_sign_up(page: Page) -> str:
    email = make_email()
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    return email


def sign_in(page: Page, email: str, password: str) -> None:
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def sell(page: Page, title: str, price: str = "42.50") -> str:
    """List a ticket, and return the address of its page."""
    page.goto("/tickets/new/")
    page.get_by_label("Title").fill(title)
    page.get_by_label("Price").fill(price)
    page.get_by_role("button", name="List the ticket").click()
    heading(page, title)
    return page.url


def find(page: Page, title: str) -> None:
    """Search the list for a ticket, and open it."""
    page.goto("/")
    page.get_by_role("searchbox").fill(title)
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name=title).click()
    heading(page, title)


def reserve(page: Page) -> str:
    """Reserve the ticket of the open page, and return the order's address."""

    def ask() -> bool:
        # A click does not wait for where it leads. Listed only a moment ago: the page says so, and
        # asks to try again.
        with page.expect_navigation():
            page.get_by_role("button", name="Reserve this ticket").click()
        return "/orders/" in page.url

    eventually(ask, what="orders to hear of the ticket")
    heading(page, "Held for you")
    return page.url


def open_payment(page: Page) -> None:
    """Go from the order to the page where it is paid."""
    page.get_by_role("link", name=re.compile("^Pay ")).click()
    expect(page.get_by_role("button", name=re.compile("^Pay"))).to_be_visible(timeout=PATIENCE_MS)


def pay(page: Page, card: str = "4242") -> None:
    """Choose a card by its last digits, and pay."""
    page.get_by_label(re.compile(card)).check()
    page.get_by_role("button", name=re.compile("^Pay")).click()


def cancel(page: Page) -> None:
    page.get_by_role("button", name="Cancel the order").click()
