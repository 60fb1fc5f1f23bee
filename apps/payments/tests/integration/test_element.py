"""Stripe's own form on the pay page: what it gives is paid with like any other card."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import pytest

from apps.payments.models import Payment
from apps.payments.tests.factories import payment_of
from apps.payments.tests.integration.test_pages import address, browser, choose, order_now, page
from apps.payments.tests.steps import last

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("stripe_provider")]

KEY = "pk_test_of_the_tests"


@pytest.fixture(autouse=True)
def _publishable_key(settings: Any) -> None:
    settings.STRIPE_PUBLISHABLE_KEY = KEY


def card_typed(sandbox: Any, method: str = "pm_card_visa") -> str:
    """What Stripe's form would give for this test card."""
    tokens = sandbox.client().test_helpers.confirmation_tokens
    return str(tokens.create({"payment_method": method}).id)


def test_the_page_has_the_form_and_nothing_inline() -> None:
    text = page(order_now())

    assert f'data-stripe-key="{KEY}"' in text
    assert 'data-amount="1250" data-currency="usd"' in text
    assert '<script src="https://js.stripe.com/endive/stripe.js" defer>' in text
    assert re.search(r'<script src="/[^"]*payments/element[^"]*\.js" defer>', text)
    assert not re.search(r"<script(?![^>]* src=)", text)
    assert "tok_visa" not in text


def test_only_this_page_may_load_something_of_stripe(settings) -> None:
    paths = (address(order_now()), "/payments/api/docs/")

    policies = [browser().get(path)["Content-Security-Policy"] for path in paths]

    assert "script-src 'self' https://js.stripe.com" in policies[0]
    assert "https://api.stripe.com" in policies[0]
    assert "unsafe-inline" not in policies[0].partition("script-src")[2].partition(";")[0]
    assert "stripe" not in policies[1]


def test_without_the_key_the_page_loads_nothing_of_stripe(settings) -> None:
    settings.STRIPE_PUBLISHABLE_KEY = ""

    text = page(order_now())

    assert "js.stripe.com" not in text
    assert 'value="tok_visa"' in text


def test_a_live_key_warns_of_no_test_system(settings) -> None:
    settings.STRIPE_KEY = "sk_live_" + "x" * 40

    text = page(order_now())

    assert "data-stripe-key" in text
    assert "This is a test system" not in text


def test_what_the_form_gives_pays_the_order_once(sandbox) -> None:
    order = order_now()

    answers = [choose(order, card_typed(sandbox)) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [302, 302]
    assert answers[0]["Location"] == f"/orders/{order.order_id}/?confirming=1"
    assert payment_of(order).state == Payment.State.PAID
    [charge] = sandbox.charges_of(order.order_id)
    assert (charge.amount, charge.payment_method_details.card.last4) == (1250, "4242")


def test_a_payment_method_pays_as_well(sandbox) -> None:
    order = order_now()

    choose(order, "pm_card_mastercard")

    assert payment_of(order).state == Payment.State.PAID


def test_after_a_declined_card_another_is_typed(sandbox) -> None:
    order = order_now()

    choose(order, card_typed(sandbox, "pm_card_visa_chargeDeclined"))

    assert "Your card was declined." in page(order)
    choose(order, card_typed(sandbox))
    assert payment_of(order).state == Payment.State.PAID
    assert len(sandbox.charges_of(order.order_id)) == 1


def test_what_was_used_once_pays_no_other_order(sandbox) -> None:
    paid, other = order_now(), order_now()
    token = card_typed(sandbox)
    choose(paid, token)

    choose(other, token)

    assert payment_of(other).state == Payment.State.OPEN
    assert sandbox.charges_of(other.order_id) == []


def test_a_lost_answer_is_found_under_the_same_key(sandbox) -> None:
    order = order_now()
    sandbox.fault("timeout_after", operation="confirm_intent")
    token = card_typed(sandbox)

    choose(order, token)
    choose(order, token)

    assert payment_of(order).state == Payment.State.PAID
    assert len(sandbox.charges_of(order.order_id)) == 1


def test_three_d_secure_leads_to_the_banks_page(sandbox) -> None:
    order = order_now()

    answer = choose(order, card_typed(sandbox, "pm_card_authenticationRequired"))

    assert answer["Location"] == last(order).action_url
    assert urlsplit(answer["Location"]).path.startswith("/redirect/authenticate/")


@pytest.mark.parametrize(
    "card",
    ["", "tok_visa", "4242424242424242", "pi_1", "ctoken_", "ctoken_1 2", "ctoken_" + "x" * 300],
)
def test_anything_else_is_refused_on_the_page(card: str) -> None:
    order = order_now()

    answer = browser().post(address(order), {"card": card})

    assert answer.status_code == 400
    assert "Your card could not be read." in answer.content.decode()
    assert payment_of(order).attempts == 0
