from __future__ import annotations

import json
import re
import time
from datetime import timedelta
from typing import Any

import pytest
import stripe
import uuid6
from django.test import Client
from django.utils import timezone

from apps.core.identity import issue_token
from apps.payments import selectors, services
from apps.payments.management.settler import Settler
from apps.payments.models import Payment, PaymentAttempt, StripeEvent
from apps.payments.tests import steps
from apps.payments.tests.factories import (
    BUYER,
    make_order,
    order_cancelled,
    order_expired,
    payment_of,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("stripe_provider")]


def browser(user_id: str = BUYER, **options: Any) -> Client:
    staff = options.pop("staff", False)
    client = Client(**options)
    client.cookies["session"] = issue_token(
        user_id, f"{user_id}@example.org", staff, timezone.now()
    )
    return client


def order_now(**changes: Any) -> Any:
    return make_order(now=timezone.now(), **changes)


def address(order: Any) -> str:
    return f"/payments/{order.order_id}/"


def page(order: Any, client: Client | None = None) -> str:
    response = (client or browser()).get(address(order))
    assert response.status_code == 200
    return response.content.decode()


def choose(order: Any, card: str = "tok_visa", client: Client | None = None) -> Any:
    return (client or browser()).post(address(order), {"card": card})


def test_the_page_offers_test_cards_the_price_and_the_time_left() -> None:
    text = page(order_now())

    assert "Front row, Saturday" in text
    assert "$12.50" in text
    assert "data-deadline" in text
    assert 'value="tok_visa"' in text
    assert "no real card is asked for" in text
    assert "csrfmiddlewaretoken" in text


def test_paying_leads_to_the_order_which_confirms_by_itself() -> None:
    order = order_now()

    response = choose(order)

    assert response["Location"] == f"/orders/{order.order_id}/?confirming=1"
    assert payment_of(order).state == Payment.State.PAID
    assert "This order is paid" in page(order)


def test_a_double_click_and_a_second_tab_end_in_one_charge(sandbox) -> None:
    order = order_now()

    answers = [choose(order), choose(order), choose(order, "tok_mastercard")]

    assert [response.status_code for response in answers] == [302] * 3
    assert len(sandbox.charges_of(order.order_id)) == 1


def test_a_declined_card_is_told_on_the_page_also_after_a_reload() -> None:
    order = order_now()

    response = choose(order, "tok_chargeDeclinedInsufficientFunds")

    assert response["Location"] == address(order)
    for _ in range(2):
        text = page(order)
        assert "Your card has insufficient funds." in text
        assert "Nothing was charged." in text
    choose(order)
    assert "insufficient funds" not in page(order)


@pytest.mark.parametrize("fault", ["timeout_after", "timeout_before"])
def test_an_unknown_outcome_is_being_confirmed_and_never_failed(sandbox, fault: str) -> None:
    order = order_now()
    sandbox.fault(fault, operation="confirm_intent")

    response = choose(order)

    assert response["Location"] == f"/orders/{order.order_id}/?confirming=1"
    text = page(order)
    assert "being confirmed" in text
    assert "do not pay again" in text
    assert "<form" not in text.split('id="payment"')[1]


@pytest.mark.parametrize("card", ["", "4242424242424242", "tok_amex"])
def test_anything_but_an_offered_card_is_refused_on_the_page(sandbox, card: str) -> None:
    order = order_now()

    response = choose(order, card)

    assert response.status_code == 400
    assert "Please choose one of the cards." in response.content.decode()
    assert payment_of(order).attempts == 0


def test_expired_cancelled_and_refunded_orders_say_so(stripe_provider) -> None:
    expired, cancelled, refunded, late = order_now(), order_now(), order_now(), order_now()
    now = timezone.now()
    services.close_payment(order=order_expired(expired), reason=Payment.Reason.EXPIRED, now=now)
    services.close_payment(
        order=order_cancelled(cancelled), reason=Payment.Reason.CANCELLED, now=now
    )
    Payment.objects.filter(pk=late.order_id).update(expires_at=now)
    choose(refunded)
    paid = payment_of(refunded).paid_payment_id
    services.request_refund(payment_id=paid, reason="The ticket was sold meanwhile.", now=now)
    assert "on their way back to you" in page(refunded)
    steps.settle(stripe_provider, now)

    assert "The reservation has expired" in page(expired)
    assert "The reservation has expired" in page(late)
    assert "The order was cancelled" in page(cancelled)
    assert "Your money went back" in page(refunded)
    assert "The ticket was sold meanwhile." in page(refunded)
    for order in (expired, cancelled, late):
        assert choose(order)["Location"] == address(order)
        assert payment_of(order).attempts == 0


def test_an_order_of_a_moment_ago_is_being_prepared() -> None:
    response = browser().get(f"/payments/{uuid6.uuid7()}/")

    assert response.status_code == 404
    assert "being prepared" in response.content.decode()


@pytest.mark.parametrize("order_id", ["nonsense", "%00", "..", "a" * 300, "%F0%9F%8E%9F", "{x}"])
def test_what_is_no_orders_id_is_not_found(order_id: str) -> None:
    for method in ("get", "post"):
        response = getattr(browser(), method)(f"/payments/{order_id}/", {"card": "tok_visa"})
        assert response.status_code in {302, 404}
        if response.status_code == 302:
            assert response["Location"].startswith("/")


def test_anothers_order_does_not_show_that_it_exists() -> None:
    order = order_now()

    assert browser("other").get(address(order)).status_code == 404
    assert choose(order, client=browser("other")).status_code == 404
    assert payment_of(order).attempts == 0


def test_strangers_sign_in_first_and_come_back() -> None:
    order = order_now()

    response = Client().get(address(order))

    assert response.status_code == 302
    assert response["Location"].startswith("/auth/signin/?next=%2Fpayments%2F")


def test_a_form_without_its_csrf_token_is_refused() -> None:
    order = order_now()

    response = choose(order, client=browser(enforce_csrf_checks=True))

    assert response.status_code == 403
    assert payment_of(order).attempts == 0


def test_other_methods_are_refused() -> None:
    assert browser().delete(address(order_now())).status_code == 405


def test_titles_are_text_and_never_html() -> None:
    text = page(order_now(ticket_title='<script>alert("x")</script> 🎟'))

    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text


def test_with_a_live_key_no_card_is_offered_and_nothing_is_charged(settings) -> None:
    settings.STRIPE_KEY = "sk_live_" + "x" * 40
    order = order_now()

    text = page(order)
    response = choose(order)

    assert "is not available yet" in text
    assert 'name="card"' not in text
    assert response.status_code == 400
    assert payment_of(order).attempts == 0


# Webhooks


def event(attempt: PaymentAttempt, kind: str = "payment_intent.succeeded", **changes: Any) -> str:
    subject = {
        "object": "payment_intent",
        "id": attempt.intent_id,
        "metadata": {"payment_id": str(attempt.pk)},
    }
    return json.dumps(
        {
            "id": f"evt_{uuid6.uuid7().hex}",
            "object": "event",
            "type": kind,
            "created": int(time.time()),
            "data": {"object": subject},
            **changes,
        }
    )


def tell(body: str, settings: Any, secret: str = "") -> Any:
    signature = stripe.WebhookSignature.generate_signature_header(
        body, secret or settings.STRIPE_WEBHOOK_SECRET
    )
    return Client(enforce_csrf_checks=True).post(
        "/payments/webhook/",
        body,
        content_type="application/json",
        headers={"Stripe-Signature": signature},
    )


def pending_attempt(sandbox: Any, fault: str = "timeout_after") -> PaymentAttempt:
    order = order_now()
    sandbox.fault(fault, operation="confirm_intent")
    choose(order)
    return selectors.find_last_attempt(order_id=order.order_id)


def test_a_webhook_has_a_pending_attempt_settled_at_once(sandbox, settings) -> None:
    attempt = pending_attempt(sandbox)

    response = tell(event(attempt), settings)
    Settler(sandbox.gateway()).run_once()

    assert response.json() == {"received": True, "duplicate": False}
    attempt.refresh_from_db()
    assert attempt.status == PaymentAttempt.Status.SUCCEEDED
    assert StripeEvent.objects.get(payment_id=str(attempt.pk)).state == "processed"


def test_a_webhook_finds_the_attempt_whose_intent_is_not_known_here(sandbox, settings) -> None:
    attempt = pending_attempt(sandbox)
    PaymentAttempt.objects.filter(pk=attempt.pk).update(intent_id="")

    tell(event(attempt), settings)
    Settler(sandbox.gateway()).run_once()

    attempt.refresh_from_db()
    assert attempt.status == PaymentAttempt.Status.SUCCEEDED


def test_a_webhook_is_stored_once_and_processed_once(sandbox, settings) -> None:
    attempt = pending_attempt(sandbox)
    body = event(attempt)

    answers = [tell(body, settings).json()["duplicate"] for _ in range(3)]
    Settler(sandbox.gateway()).run_once()
    answers.append(tell(body, settings).json()["duplicate"])
    Settler(sandbox.gateway()).run_once()

    assert answers == [False, True, True, True]
    assert StripeEvent.objects.filter(payment_id=str(attempt.pk)).count() == 1


def test_a_webhook_that_lies_changes_nothing(sandbox, settings) -> None:
    """It says paid; the provider, when asked, says not."""
    attempt = pending_attempt(sandbox, "timeout_before")

    tell(event(attempt), settings)
    Settler(sandbox.gateway()).run_once()

    attempt.refresh_from_db()
    assert attempt.status == PaymentAttempt.Status.FAILED


@pytest.mark.parametrize(
    ("kind", "state"),
    [("charge.succeeded", "ignored"), ("customer.created", "ignored"), ("a.b", "ignored")],
)
def test_webhooks_of_no_interest_are_kept_all_the_same(sandbox, settings, kind, state) -> None:
    attempt = pending_attempt(sandbox)

    assert tell(event(attempt, kind), settings).status_code == 200

    assert StripeEvent.objects.get(payment_id=str(attempt.pk)).state == state


@pytest.mark.parametrize("payment_id", ["", "nonsense", str(uuid6.uuid7())])
def test_a_webhook_about_nothing_we_know_is_kept_and_does_nothing(
    sandbox, settings, payment_id: str
) -> None:
    subject = {"object": "payment_intent", "id": "pi_x", "metadata": {"payment_id": payment_id}}
    body = event(PaymentAttempt(), data={"object": subject})

    assert tell(body, settings).status_code == 200
    assert Settler(sandbox.gateway()).run_once()
    assert not Settler(sandbox.gateway()).run_once()


@pytest.mark.parametrize("body", ["", "{}", "[]", "nonsense", "\x00"])
def test_a_signed_body_that_is_no_event_is_refused(settings, body: str) -> None:
    response = tell(body, settings)

    assert response.status_code == 400
    assert response.json()["errors"][0]["code"] == "webhook_refused"


def test_unsigned_and_wrongly_signed_webhooks_are_refused_and_not_stored(sandbox, settings) -> None:
    attempt = pending_attempt(sandbox)

    unsigned = Client().post("/payments/webhook/", event(attempt), content_type="application/json")
    forged = tell(event(attempt), settings, secret="whsec_forged")

    assert (unsigned.status_code, forged.status_code) == (400, 400)
    assert not StripeEvent.objects.filter(payment_id=str(attempt.pk)).exists()


def test_a_webhook_that_is_too_large_is_refused(settings) -> None:
    assert tell("x" * 400_000, settings).status_code in {400, 413}


def test_a_webhook_that_names_no_intent_does_not_touch_the_attempts_that_have_none(
    sandbox, settings
) -> None:
    order = order_now()
    sandbox.fault("timeout_before", operation="create_intent")
    choose(order)

    tell(event(PaymentAttempt(), data={"object": {"object": "charge", "id": "ch_1"}}), settings)
    Settler(sandbox.gateway(), clock=lambda: timezone.now() - timedelta(seconds=1)).run_once()

    assert selectors.find_last_attempt(order_id=order.order_id).is_pending


def test_webhooks_are_posted() -> None:
    assert Client().get("/payments/webhook/").status_code == 405


# Staff


def test_staff_find_payments_attempts_and_webhooks_and_change_nothing(sandbox, settings) -> None:
    attempt = pending_attempt(sandbox)
    tell(event(attempt), settings)
    client = browser("staff", staff=True)

    for model, key in (
        ("payment", attempt.order_id),
        ("paymentattempt", attempt.pk),
        ("stripeevent", StripeEvent.objects.get(payment_id=str(attempt.pk)).pk),
    ):
        listed = client.get(f"/payments/admin/payments/{model}/?q={attempt.intent_id}")
        assert listed.status_code == 200
        shown = client.get(f"/payments/admin/payments/{model}/{key}/change/")
        assert shown.status_code == 200
        assert not re.search(r'name="_save"', shown.content.decode())
        assert client.get(f"/payments/admin/payments/{model}/add/").status_code == 403
        assert client.post(f"/payments/admin/payments/{model}/{key}/delete/").status_code == 403
    found = client.get(f"/payments/admin/payments/payment/?q={attempt.order_id}")
    assert attempt.order_id in found.content.decode()
    odd = client.get("/payments/admin/payments/paymentattempt/?q=%F0%9F%8E%9F'\"$")
    assert odd.status_code == 200
