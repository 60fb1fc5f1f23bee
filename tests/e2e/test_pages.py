"""Every main page, for people with other eyes, hands and screens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Response, expect

from tests.e2e import pages
from tests.e2e.people import PASSWORD, Person, make_email, make_title

GRAVE = {"serious", "critical"}
PHONE = {"width": 360, "height": 740}


def visit_main_pages(page: Page, ticket: str) -> Iterator[str]:
    """Walk through the whole of a purchase, and yield the name of each page while it is open."""
    page.goto("/")
    yield "list"
    page.goto("/?q=surely+nothing+is+called+so")
    yield "empty list"
    page.goto("/auth/signin/")
    page.get_by_role("button", name="Sign in").click()
    yield "refused sign-in"
    page.goto("/auth/signup/")
    yield "sign-up"
    pages.fill_sign_up(page)
    page.goto("/auth/account/")
    yield "account"
    page.goto("/tickets/mine/")
    yield "no listings"
    pages.sell(page, make_title())
    yield "own ticket"
    page.goto("/tickets/mine/")
    yield "listings"
    page.goto(ticket)
    yield "ticket"
    order = pages.reserve(page)
    yield "reserved order"
    pages.open_payment(page)
    yield "payment"
    pages.pay(page, card="0002")
    pages.heading(page, "Try another card")
    yield "declined payment"
    pages.pay(page)
    pages.heading(page, "The ticket is yours")
    yield "complete order"
    page.goto("/orders/")
    yield "orders"
    page.goto(f"{order}nothing-here/")
    yield "not found"


def is_missing(answer: Response) -> bool:
    """Tell whether a part of a page could not be loaded; pages themselves may well be not found."""
    return answer.status >= 400 and answer.request.resource_type != "document"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_grave_faults_of_accessibility(new_page, seller: Person, scheme) -> None:
    ticket = seller.list_ticket()
    page = new_page(color_scheme=scheme)

    faults = {
        f"{name}: {fault['id']}": [node["html"] for node in fault["nodes"]]
        for name in visit_main_pages(page, f"/tickets/{ticket['id']}/")
        for fault in Axe().run(page).response["violations"]
        if fault["impact"] in GRAVE
    }

    assert faults == {}


def test_no_page_scrolls_sideways_on_a_phone(new_page, seller: Person) -> None:
    ticket = seller.list_ticket(title="W" * 60, price=99999.99)
    page = new_page(viewport=PHONE)

    too_wide = {}
    for name in visit_main_pages(page, f"/tickets/{ticket['id']}/"):
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > PHONE["width"]:
            too_wide[name] = width

    assert too_wide == {}


def test_account_is_made_by_keyboard_alone(new_page) -> None:
    page = new_page()
    page.goto("/auth/signup/")

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.get_by_label("E-mail").focus()
    page.keyboard.type(make_email())
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")

    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def test_pages_load_all_of_their_parts_from_here_and_report_no_error(
    new_page, seller: Person, base_url: str
) -> None:
    ticket = seller.list_ticket()
    page = new_page()
    asked: list[str] = []
    missing: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("response", lambda answer: missing.append(answer.url) if is_missing(answer) else None)
    page.on("pageerror", lambda error: errors.append(str(error)))

    for _ in visit_main_pages(page, f"/tickets/{ticket['id']}/"):
        assert page.locator("body").is_visible()

    assert [url for url in asked if not url.startswith(base_url)] == []
    assert missing == []
    assert errors == []
