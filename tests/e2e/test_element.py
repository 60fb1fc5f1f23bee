"""The pay page with a publishable key of Stripe's: our script around Stripe's own form.

Stripe's script cannot be loaded here. In its place the browser gets one that has the same calls,
and gives a confirmation token of the sandbox's for the card that is typed.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect
from stripe import StripeClient

from deploy.local.config import ROOT
from deploy.local.entries import environment_of_service, environment_of_system, python
from deploy.local.ports import find_free
from tests.e2e import pages
from tests.e2e.stack import PATIENCE_SECONDS, Stack, eventually, says_ok
from tests.e2e.test_journeys import list_ticket

STRIPE_JS = "https://js.stripe.com/endive/stripe.js"
NUMBER = "Card number"
STAND_IN = """
/* Stripe's answers come over the network: never before the browser has done with the click. */
const later = (answer) => new Promise((resolve) => setTimeout(() => resolve(answer), 20));
window.Stripe = (key) => ({
  elements: (options) => {
    window.askedFor = { key, ...options };
    return {
      create: () => {
        const heard = {};
        return {
          on: (name, listener) => { heard[name] = listener; },
          mount: (place) => {
            place.innerHTML = '<label>Card number <input id="number" inputmode="numeric"></label>';
            setTimeout(heard.ready, 50);
          },
        };
      },
      submit: () => later(document.getElementById("number").value
        ? {} : { error: { message: "Your card number is incomplete." } }),
    };
  },
  createConfirmationToken: () => {
    const id = TOKENS[document.getElementById("number").value];
    return later(id ? { confirmationToken: { id } } : { error: { message: "Unknown card." } });
  },
});
"""


@pytest.fixture(scope="module")
def pay_pages(stack: Stack) -> Iterator[str]:
    """The web process of payments once more, with a publishable key: its address."""
    port = find_free(stack.config.ports.values())
    address = f"http://127.0.0.1:{port}"
    environment = {
        **environment_of_system(stack.config, os.environ),
        **environment_of_service(stack.config, "payments"),
        "STRIPE_PUBLISHABLE_KEY": "pk_test_of_nobody",
    }
    command = python("-m", "gunicorn", "ticketing.wsgi", "--bind", f"127.0.0.1:{port}")
    server = subprocess.Popen(
        [*command, "--worker-class", "gthread", "--threads", "4", "--no-control-socket"],
        cwd=ROOT,
        env=environment,
    )

    eventually(lambda: says_ok(f"{address}/healthz"), what="the pay pages")
    yield address
    server.send_signal(signal.SIGTERM)
    server.wait(timeout=PATIENCE_SECONDS)


@pytest.fixture
def cards(stack: Stack) -> dict[str, str]:
    """What Stripe's form would give, by what is typed into it."""
    client = StripeClient(
        stack.config.secrets["STRIPE_KEY"],
        base_addresses={"api": f"http://127.0.0.1:{stack.config.ports['provider']}"},
    ).v1
    tokens = client.test_helpers.confirmation_tokens
    methods = {"4242": "pm_card_visa", "0002": "pm_card_visa_chargeDeclined"}
    return {
        number: tokens.create({"payment_method": method}).id for number, method in methods.items()
    }


def type_card(page: Page, number: str) -> None:
    page.get_by_label(NUMBER).fill(number)
    page.get_by_role("button", name=re.compile("^Pay")).click()


def test_a_card_is_typed_into_stripes_form_declined_and_another_one_pays(
    new_page: Callable[..., Page], pay_pages: str, cards: dict[str, str]
) -> None:
    title = list_ticket(new_page)
    buyer = new_page()
    buyer.route(
        STRIPE_JS,
        lambda route: route.fulfill(
            content_type="text/javascript", body=f"const TOKENS = {json.dumps(cards)};{STAND_IN}"
        ),
    )
    pages.sign_up(buyer)
    pages.find(buyer, title)
    order_address = pages.reserve(buyer)
    pages.open_payment(buyer)
    order_id = order_address.rstrip("/").rpartition("/")[2]

    buyer.goto(f"{pay_pages}/payments/{order_id}/")
    type_card(buyer, "")
    pages.alert(buyer, "Your card number is incomplete.")
    type_card(buyer, "0002")
    pages.alert(buyer, "Your card was declined.")
    expect(buyer.get_by_label(NUMBER)).to_be_visible()  # the page came anew: its form comes later
    asked_for = buyer.evaluate("window.askedFor")
    type_card(buyer, "4242")
    buyer.wait_for_url(re.compile(r"/orders/"))

    assert asked_for["key"] == "pk_test_of_nobody"
    assert (asked_for["mode"], asked_for["amount"], asked_for["currency"]) == (
        "payment",
        4250,
        "usd",
    )
    assert asked_for["allowedPaymentMethodTypes"] == ["card"]
    buyer.goto(order_address)
    pages.heading(buyer, "The ticket is yours")


def test_a_form_that_cannot_be_loaded_says_so_and_charges_nothing(
    new_page: Callable[..., Page], pay_pages: str
) -> None:
    title = list_ticket(new_page)
    buyer = new_page()
    buyer.route(STRIPE_JS, lambda route: route.abort())
    pages.sign_up(buyer)
    pages.find(buyer, title)
    order_address = pages.reserve(buyer)
    pages.open_payment(buyer)

    buyer.goto(f"{pay_pages}/payments/{order_address.rstrip('/').rpartition('/')[2]}/")

    pages.alert(buyer, "could not be loaded")
    expect(buyer.get_by_role("button", name=re.compile("^Pay"))).to_be_disabled()
