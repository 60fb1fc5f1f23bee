"""3-D Secure: the bank wants the buyer to confirm the payment, and only then takes the money."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from django.utils import timezone

from apps.core.errors import NotSignedIn
from apps.payments import selectors, services
from apps.payments.gateway import ProviderUnsure
from apps.payments.models import Payment, PaymentAttempt
from apps.payments.tests.factories import BUYER, NOW, make_order, payment_of
from apps.payments.tests.integration.test_pages import browser
from apps.payments.tests.steps import close, facts_of, last, order_now, pay, settle

pytestmark = pytest.mark.django_db(transaction=True)

CARD = "tok_authenticationRequired"
Status = PaymentAttempt.Status
SOON = NOW + timedelta(seconds=30)


def answer_bank(attempt: PaymentAttempt, word: str) -> str:
    """Say yes or no on the bank's page, and return where that leads."""
    answer = httpx.post(attempt.action_url, data={"answer": word})
    assert answer.status_code == httpx.codes.SEE_OTHER
    return answer.headers["Location"]


def come_back(order) -> None:
    services.notice_return(order_id=order.order_id, buyer_id=BUYER, now=SOON)


def charges(sandbox, order) -> int:
    return len(sandbox.charges_of(order.order_id))


def test_a_confirmed_payment_is_one_charge_of_the_attempt_that_was_begun(sandbox) -> None:
    order = make_order()
    gateway = sandbox.gateway()

    attempt = pay(order, gateway, CARD)

    assert attempt.awaits_buyer
    assert charges(sandbox, order) == 0
    back = answer_bank(attempt, "approve")
    assert urlsplit(back).path == f"/payments/{order.order_id}/return/"
    assert parse_qs(urlsplit(back).query)["redirect_status"] == ["succeeded"]
    come_back(order)
    settle(gateway, SOON)
    assert last(order).status == Status.SUCCEEDED
    assert payment_of(order).state == Payment.State.PAID
    assert charges(sandbox, order) == 1
    assert facts_of(order) == ["started", "succeeded"]


def test_a_refused_payment_is_declined_and_another_card_may_follow(sandbox) -> None:
    order = make_order()
    gateway = sandbox.gateway()

    back = answer_bank(pay(order, gateway, CARD), "refuse")
    assert parse_qs(urlsplit(back).query)["redirect_status"] == ["failed"]
    come_back(order)
    settle(gateway, SOON)

    refused = last(order)
    assert refused.status == Status.FAILED
    assert refused.failure_code == "payment_intent_authentication_failure"
    assert "unable to authenticate" in refused.failure_message
    assert pay(order, gateway).status == Status.SUCCEEDED
    assert charges(sandbox, order) == 1


def test_other_clicks_and_tabs_join_the_attempt_and_ask_the_provider_nothing(sandbox, fake) -> None:
    order = make_order()
    first = pay(order, sandbox.gateway(), CARD)

    joined = [pay(order, fake, card) for card in (CARD, "tok_visa")]

    assert {(each.pk, each.action_url) for each in joined} == {(first.pk, first.action_url)}
    assert fake.calls == []


def test_a_buyer_who_says_nothing_is_waited_for_until_the_reservation_ends(sandbox) -> None:
    order = make_order()
    gateway = sandbox.gateway()
    pay(order, gateway, CARD)

    for minutes in range(1, 15):
        settle(gateway, NOW + timedelta(minutes=minutes))
    assert last(order).awaits_buyer
    settle(gateway, order.expires_at)

    assert last(order).status == Status.FAILED
    [intent] = sandbox.client().payment_intents.list({"limit": 1}).data
    assert intent.status == "canceled"
    assert charges(sandbox, order) == 0


@pytest.mark.parametrize("reason", [Payment.Reason.EXPIRED, Payment.Reason.CANCELLED])
def test_an_order_that_ends_meanwhile_ends_the_attempt_at_the_provider_first(
    sandbox, reason
) -> None:
    order = make_order()
    gateway = sandbox.gateway()
    attempt = pay(order, gateway, CARD)
    close(order, reason)
    assert facts_of(order) == ["started"]

    settle(gateway, SOON)

    assert facts_of(order) == ["started", "failed", "closed"]
    assert httpx.post(attempt.action_url, data={"answer": "approve"}).status_code == httpx.codes.OK
    assert charges(sandbox, order) == 0


def test_a_payment_that_was_confirmed_just_before_the_order_ended_is_found_paid(sandbox) -> None:
    order = make_order()
    gateway = sandbox.gateway()
    answer_bank(pay(order, gateway, CARD), "approve")
    close(order)

    settle(gateway, SOON)

    assert facts_of(order) == ["started", "succeeded"]
    assert charges(sandbox, order) == 1


def test_a_confirmation_of_which_nobody_tells_is_found_within_a_minute(sandbox) -> None:
    order = make_order()
    gateway = sandbox.gateway()
    answer_bank(pay(order, gateway, CARD), "approve")

    settle(gateway, NOW + timedelta(seconds=60))

    assert last(order).status == Status.SUCCEEDED


def test_a_lost_answer_still_leads_the_buyer_to_the_bank(sandbox) -> None:
    order = make_order()
    sandbox.fault("timeout_after", operation="confirm_intent")
    gateway = sandbox.gateway()

    attempt = pay(order, gateway, CARD)
    assert not attempt.awaits_buyer
    assert attempt.is_pending
    settle(gateway, NOW + timedelta(seconds=2))

    assert last(order).awaits_buyer
    answer_bank(last(order), "approve")
    come_back(order)
    settle(gateway, SOON)
    assert last(order).status == Status.SUCCEEDED
    assert charges(sandbox, order) == 1


def test_a_buyer_may_use_another_card_instead(sandbox) -> None:
    order = make_order()
    gateway = sandbox.gateway()
    waiting = pay(order, gateway, CARD)

    services.use_another_card(
        order_id=order.order_id, buyer_id=BUYER, gateway=gateway, clock=lambda: SOON
    )
    paid = pay(order, gateway)

    assert selectors.get_attempt(payment_id=str(waiting.pk)).status == Status.FAILED
    assert (paid.attempt, paid.status) == (2, Status.SUCCEEDED)
    assert charges(sandbox, order) == 1


def test_another_card_is_not_used_once_the_bank_has_the_confirmation(sandbox) -> None:
    order = make_order()
    gateway = sandbox.gateway()
    answer_bank(pay(order, gateway, CARD), "approve")

    services.use_another_card(
        order_id=order.order_id, buyer_id=BUYER, gateway=gateway, clock=lambda: SOON
    )

    assert last(order).status == Status.SUCCEEDED
    assert facts_of(order) == ["started", "succeeded"]


def test_another_card_waits_while_the_provider_is_away(sandbox, fake) -> None:
    order = make_order()
    waiting = pay(order, sandbox.gateway(), CARD)
    fake.answers["cancel_intent"] = [ProviderUnsure("no answer")]

    services.use_another_card(
        order_id=order.order_id, buyer_id=BUYER, gateway=fake, clock=lambda: SOON
    )

    assert last(order).pk == waiting.pk
    assert last(order).is_pending
    assert last(order).settle_at == SOON


def test_strangers_change_nothing(sandbox, fake) -> None:
    order = make_order()
    pay(order, sandbox.gateway(), CARD)
    stranger = {"order_id": order.order_id, "buyer_id": "somebody-else"}

    with pytest.raises(NotSignedIn):
        services.notice_return(**stranger, now=SOON)
    with pytest.raises(NotSignedIn):
        services.use_another_card(**stranger, gateway=fake)
    address = last(order).action_url.partition("?")[0]
    for secret in ("", "?client_secret=", "?client_secret=guessed"):
        answer = httpx.post(f"{address}{secret}", data={"answer": "approve"})
        assert answer.status_code == httpx.codes.NOT_FOUND

    assert last(order).awaits_buyer
    assert charges(sandbox, order) == 0


def test_a_bank_that_gives_no_page_is_given_up_without_a_charge(fake) -> None:
    order = make_order()
    fake.needs_buyer = True

    with pytest.raises(services.PaymentDeclined) as caught:
        pay(order, fake, CARD)

    assert caught.value.error_code == "authentication_required"
    assert fake.charges == []


def test_the_pages_lead_to_the_bank_and_back(stripe_provider, sandbox) -> None:
    order = order_now()
    services.record_order(order=order, now=NOW)
    client = browser()
    page = f"/payments/{order.order_id}/"

    answer = client.post(page, {"card": CARD})

    attempt = last(order)
    assert (answer.status_code, answer["Location"]) == (302, attempt.action_url)
    shown = client.get(page).content.decode()
    assert "Confirm it with your bank" in shown
    assert "Continue at your bank" in shown
    back = answer_bank(attempt, "approve")
    answer = client.get(urlsplit(back).path)
    assert answer["Location"] == f"/orders/{order.order_id}/?confirming=1"
    settle(stripe_provider, timezone.now())
    assert "This order is paid" in client.get(page).content.decode()


def test_the_api_tells_where_to_send_the_buyer(stripe_provider, sandbox) -> None:
    order = order_now()
    services.record_order(order=order, now=NOW)
    client = browser()
    body = {"token": CARD, "orderId": order.order_id}

    answers = [
        client.post("/api/payments", body, content_type="application/json") for _ in range(2)
    ]

    assert {answer.status_code for answer in answers} == {202}
    assert answers[0].json() == answers[1].json()
    assert answers[0].json() | {"message": ""} == {
        "id": str(last(order).pk),
        "status": "requires_action",
        "message": "",
        "redirectUrl": last(order).action_url,
    }
