"""The sandbox through Stripe's official library: what we rely on holds here as it does there."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import stripe

from deploy.sandbox.tests.calls import create, plain


def test_a_payment_method_is_made_from_a_token(sandbox) -> None:
    client = sandbox.client()

    method = client.payment_methods.create(
        {
            "type": "card",
            "card": {"token": "tok_mastercard"},
            "billing_details": {"name": "Ada"},
            "metadata": {"a": "b"},
        }
    )

    assert method.id.startswith("pm_")
    assert (method.card.brand, method.card.last4) == ("mastercard", "4444")
    assert method.billing_details.name == "Ada"
    assert client.payment_methods.retrieve(method.id).id == method.id


def test_an_intent_is_created_confirmed_retrieved_and_listed(sandbox) -> None:
    client = sandbox.client()

    intent = create(client, metadata={"order_id": "o-1"}, description="Front row")
    assert (intent.status, intent.amount_received) == ("requires_payment_method", 0)
    paid = client.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa"})

    assert (paid.status, paid.amount_received) == ("succeeded", 1250)
    assert paid.id.startswith("pi_")
    assert paid.client_secret.startswith(f"{paid.id}_secret_")
    known = client.payment_intents.retrieve(intent.id, {"expand": ["latest_charge"]})
    assert known.metadata["order_id"] == "o-1"
    assert known.latest_charge.paid
    assert known.latest_charge.id.startswith("ch_")
    assert client.charges.retrieve(known.latest_charge.id).amount_captured == 1250
    assert client.payment_intents.list({"limit": 1}).data[0].id == intent.id


def test_an_intent_can_be_confirmed_at_its_creation(sandbox) -> None:
    paid = create(sandbox.client(), confirm=True, payment_method="pm_card_mastercard")

    assert paid.status == "succeeded"


def test_an_intent_with_a_method_waits_for_its_confirmation(sandbox) -> None:
    client = sandbox.client()

    intent = create(client, payment_method="pm_card_visa")

    assert intent.status == "requires_confirmation"
    assert client.payment_intents.confirm(intent.id).status == "succeeded"


def test_a_confirmation_may_bring_the_data_of_a_method(sandbox) -> None:
    client = sandbox.client()
    data = {"type": "card", "card": {"token": "tok_visa"}}

    paid = client.payment_intents.confirm(create(client).id, {"payment_method_data": data})

    assert paid.status == "succeeded"


@pytest.mark.parametrize(
    ("card", "code", "decline_code"),
    [
        ("chargeDeclined", "card_declined", "generic_decline"),
        ("visa_chargeDeclined", "card_declined", "generic_decline"),
        ("chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("visa_chargeDeclinedLostCard", "card_declined", "lost_card"),
        ("visa_chargeDeclinedStolenCard", "card_declined", "stolen_card"),
        ("chargeDeclinedExpiredCard", "expired_card", "expired_card"),
        ("chargeDeclinedIncorrectCvc", "incorrect_cvc", "incorrect_cvc"),
        ("chargeDeclinedProcessingError", "processing_error", "processing_error"),
    ],
)
def test_a_declined_card_is_a_card_error_and_the_intent_takes_another(
    sandbox, card: str, code: str, decline_code: str
) -> None:
    client = sandbox.client()
    intent = create(client)

    with pytest.raises(stripe.CardError) as caught:
        client.payment_intents.confirm(intent.id, {"payment_method": f"pm_card_{card}"})

    error = caught.value.error
    assert (caught.value.http_status, error.type) == (402, "card_error")
    assert (error.code, error.decline_code) == (code, decline_code)
    assert error.payment_intent.status == "requires_payment_method"
    known = client.payment_intents.retrieve(intent.id)
    assert known.last_payment_error.message == error.message
    assert known.last_payment_error.charge == known.latest_charge
    assert not client.charges.retrieve(known.latest_charge).paid
    paid = client.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa"})
    assert (paid.status, paid.last_payment_error) == ("succeeded", None)


@pytest.mark.parametrize("back", [{}, {"return_url": "https://example.org/back"}])
def test_a_card_that_needs_authentication_asks_for_action(sandbox, back: Any) -> None:
    client = sandbox.client()
    intent = create(client)

    asked = client.payment_intents.confirm(
        intent.id, {"payment_method": "pm_card_authenticationRequired", **back}
    )

    assert asked.status == "requires_action"
    assert asked.next_action.type == ("redirect_to_url" if back else "use_stripe_sdk")
    assert client.payment_intents.cancel(intent.id).status == "canceled"


@pytest.mark.parametrize(
    ("word", "status", "code", "charges"),
    [
        ("approve", "succeeded", "", 1),
        ("refuse", "requires_payment_method", "payment_intent_authentication_failure", 0),
    ],
)
def test_the_banks_page_takes_the_buyers_word_once(
    sandbox, word: str, status: str, code: str, charges: int
) -> None:
    client = sandbox.client()
    intent = create(client)
    asked = client.payment_intents.confirm(
        intent.id,
        {"payment_method": "pm_card_authenticationRequired", "return_url": "https://a.org/b?c=1"},
    )
    page = asked.next_action.redirect_to_url.url

    assert "Is this payment yours?" in httpx.get(page).text
    assert httpx.post(page, data={"answer": "perhaps"}).status_code == 200
    answer = httpx.post(page, data={"answer": word})
    again = httpx.post(page, data={"answer": "approve"})

    assert answer.status_code == 303
    outcome = "succeeded" if charges else "failed"
    assert answer.headers["Location"].startswith(f"https://a.org/b?c=1&payment_intent={intent.id}&")
    assert answer.headers["Location"].endswith(f"&redirect_status={outcome}")
    assert "You can close this page" in again.text
    known = client.payment_intents.retrieve(intent.id)
    assert known.status == status
    assert (known.last_payment_error.code if known.last_payment_error else "") == code
    assert len(client.charges.list({"payment_intent": intent.id}).data) == charges


def test_a_confirmation_token_pays_one_intent(sandbox) -> None:
    client = sandbox.client()
    token = client.test_helpers.confirmation_tokens.create({"payment_method": "pm_card_visa"})
    intent = create(client)

    paid = client.payment_intents.confirm(intent.id, {"confirmation_token": token.id})

    assert paid.status == "succeeded"
    card = client.payment_methods.retrieve(paid.payment_method).card
    assert (card.last4, token.payment_method_preview.card.last4) == ("4242", "4242")
    assert client.confirmation_tokens.retrieve(token.id).payment_intent == intent.id
    with pytest.raises(stripe.InvalidRequestError, match="already been used"):
        client.payment_intents.confirm(create(client).id, {"confirmation_token": token.id})
    with pytest.raises(stripe.InvalidRequestError, match="No such ConfirmationToken"):
        client.payment_intents.confirm(create(client).id, {"confirmation_token": "ctoken_1"})


@pytest.mark.parametrize(
    ("more", "kind"),
    [({}, "use_stripe_sdk"), ({"use_stripe_sdk": False}, "redirect_to_url")],
)
def test_a_confirmation_token_leaves_authentication_to_the_browser_unless_told_otherwise(
    sandbox, more: Any, kind: str
) -> None:
    client = sandbox.client()
    token = client.test_helpers.confirmation_tokens.create(
        {"payment_method": "pm_card_authenticationRequired", "return_url": "https://a.org/"}
    )

    asked = client.payment_intents.confirm(
        create(client).id, {"confirmation_token": token.id, **more}
    )

    assert asked.next_action.type == kind


def test_a_card_that_needs_authentication_can_be_made_to_fail_instead(sandbox) -> None:
    client = sandbox.client()

    with pytest.raises(stripe.CardError) as caught:
        client.payment_intents.confirm(
            create(client).id,
            {"payment_method": "pm_card_threeDSecure2Required", "error_on_requires_action": True},
        )

    assert caught.value.code == "authentication_required"


def test_a_cancelled_intent_is_neither_confirmed_nor_cancelled_again(sandbox) -> None:
    client = sandbox.client()
    intent = create(client)

    cancelled = client.payment_intents.cancel(intent.id, {"cancellation_reason": "abandoned"})

    assert (cancelled.status, cancelled.cancellation_reason) == ("canceled", "abandoned")
    for again in (
        lambda: client.payment_intents.cancel(intent.id),
        lambda: client.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa"}),
    ):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            again()
        assert caught.value.code == "payment_intent_unexpected_state"
        assert caught.value.error.payment_intent.status == "canceled"


def test_a_paid_intent_is_neither_cancelled_nor_charged_again(sandbox) -> None:
    client = sandbox.client()
    intent = create(client, confirm=True, payment_method="pm_card_visa")

    for again in (
        lambda: client.payment_intents.cancel(intent.id),
        lambda: client.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa"}),
    ):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            again()
        assert caught.value.error.payment_intent.status == "succeeded"
    assert len(client.charges.list({"payment_intent": intent.id}).data) == 1


def test_refunds_never_exceed_the_payment(sandbox) -> None:
    client = sandbox.client()
    intent = create(client, amount=1000, confirm=True, payment_method="pm_card_visa")

    part = client.refunds.create({"payment_intent": intent.id, "amount": 400})
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded amount"):
        client.refunds.create({"payment_intent": intent.id, "amount": 601})
    rest = client.refunds.create({"charge": intent.latest_charge, "reason": "duplicate"})
    with pytest.raises(stripe.InvalidRequestError) as caught:
        client.refunds.create({"payment_intent": intent.id})

    assert caught.value.code == "charge_already_refunded"
    assert (part.amount, rest.amount, rest.status) == (400, 600, "succeeded")
    assert client.refunds.retrieve(part.id).charge == intent.latest_charge
    listed = client.refunds.list({"payment_intent": intent.id}).data
    assert [refund.id for refund in listed] == [rest.id, part.id]
    assert client.charges.retrieve(intent.latest_charge).refunded


def test_what_was_not_paid_is_not_refunded(sandbox) -> None:
    client = sandbox.client()

    with pytest.raises(stripe.InvalidRequestError, match="does not have a successful charge"):
        client.refunds.create({"payment_intent": create(client).id})


def test_lists_have_pages_in_both_directions(sandbox) -> None:
    client = sandbox.client()
    newest_first = [create(client).id for _ in range(5)][::-1]

    page = client.payment_intents.list({"limit": 2, "starting_after": newest_first[0]})
    back = client.payment_intents.list({"limit": 2, "ending_before": newest_first[3]})

    assert [intent.id for intent in page.data] == newest_first[1:3]
    assert page.has_more
    assert [intent.id for intent in back.data] == newest_first[1:3]


# Shapes: every field that the library declares for the pinned version, and no other.

# Only there when an account uses what they are about (Connect, Tax, Hooks, Terminal, …).
ABSENT = {
    "payment_intent": {
        "hooks",
        "managed_payments",
        "payment_details",
        "payment_record",
        "presentment_details",
    },
    "charge": {
        "authorization_code",
        "transfer",
        "presentment_details",
        "refunds",
        "level3",
        "application_fee_amount",
    },
    "refund": {
        "customer",
        "customer_account",
        "description",
        "failure_balance_transaction",
        "failure_reason",
        "instructions_email",
        "next_action",
        "pending_reason",
        "presentment_details",
    },
}


@pytest.mark.parametrize("kind", ["payment_intent", "charge", "refund"])
def test_objects_have_the_fields_that_the_library_declares(sandbox, kind: str) -> None:
    client = sandbox.client()
    intent = create(client, confirm=True, payment_method="pm_card_visa")
    bodies = {
        "payment_intent": lambda: plain(client.payment_intents.retrieve(intent.id)),
        "charge": lambda: plain(client.charges.retrieve(intent.latest_charge)),
        "refund": lambda: plain(client.refunds.create({"payment_intent": intent.id})),
    }
    library = {
        "payment_intent": stripe.PaymentIntent,
        "charge": stripe.Charge,
        "refund": stripe.Refund,
    }[kind]
    declared = {
        name
        for name in library.__annotations__
        if not name.startswith("_") and name != "OBJECT_NAME"
    }

    fields = set(bodies[kind]())

    assert declared - fields - ABSENT[kind] == set()
    assert fields - declared == set()
