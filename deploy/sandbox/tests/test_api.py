"""The sandbox through Stripe's official library: what we rely on holds here as it does there."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import stripe

CARD = {"allowed_payment_method_types": ["card"]}


def create(client: Any, amount: int = 1250, options: Any = None, **params: Any) -> Any:
    return client.payment_intents.create(
        {"amount": amount, "currency": "usd", **CARD, **params}, options
    )


def plain(answer: Any) -> dict[str, Any]:
    return json.loads(answer.last_response.body)


def request(sandbox: Any, method: str, path: str, **options: Any) -> tuple[int, Any]:
    body = options.get("body")
    call = urllib.request.Request(
        f"{sandbox.url}{path}",
        method=method,
        data=body.encode() if body is not None else None,
        headers=options.get("headers", {}),
    )
    try:
        with urllib.request.urlopen(call, timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


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


def test_the_same_key_and_parameters_replay_the_answer(sandbox) -> None:
    client = sandbox.client()

    first = create(client, options={"idempotency_key": "replay"})
    again = create(client, options={"idempotency_key": "replay"})

    assert again.id == first.id
    assert "Idempotent-Replayed" not in first.last_response.headers
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert (
        again.last_response.headers["Original-Request"] == first.last_response.headers["Request-Id"]
    )


def test_a_key_with_other_parameters_or_for_another_endpoint_is_an_error(sandbox) -> None:
    client = sandbox.client()
    intent = create(client, options={"idempotency_key": "reused"})

    with pytest.raises(stripe.IdempotencyError, match="same parameters"):
        create(client, amount=999, options={"idempotency_key": "reused"})
    with pytest.raises(stripe.IdempotencyError, match="same endpoint"):
        client.payment_intents.cancel(intent.id, None, {"idempotency_key": "reused"})


def test_a_decline_is_kept_under_its_key(sandbox) -> None:
    client = sandbox.client()
    intent = create(client)
    sandbox.fault("decline", operation="confirm_intent", code="insufficient_funds")

    for _ in range(2):
        with pytest.raises(stripe.CardError) as caught:
            client.payment_intents.confirm(
                intent.id, {"payment_method": "pm_card_visa"}, {"idempotency_key": "declined"}
            )
        assert caught.value.error.decline_code == "insufficient_funds"

    assert caught.value.headers["Idempotent-Replayed"] == "true"
    assert len(client.charges.list({"payment_intent": intent.id}).data) == 1


@pytest.mark.parametrize(("kind", "charges"), [("error_before", 0), ("error_after", 1)])
def test_a_500_is_kept_under_its_key(sandbox, kind: str, charges: int) -> None:
    client = sandbox.client()
    intent = create(client)
    sandbox.fault(kind, operation="confirm_intent")

    for _ in range(2):
        with pytest.raises(stripe.APIError) as caught:
            client.payment_intents.confirm(
                intent.id, {"payment_method": "pm_card_visa"}, {"idempotency_key": kind}
            )
        assert caught.value.http_status == 500

    assert len(client.charges.list({"payment_intent": intent.id}).data) == charges


def test_what_failed_validation_is_not_kept_under_its_key(sandbox) -> None:
    client = sandbox.client()

    with pytest.raises(stripe.InvalidRequestError):
        create(client, amount=-1, options={"idempotency_key": "corrected"})

    assert create(client, options={"idempotency_key": "corrected"}).amount == 1250


def test_a_key_in_use_is_a_conflict_and_is_charged_once(sandbox) -> None:
    client = sandbox.client()
    intent = create(client)
    sandbox.fault("delay", operation="confirm_intent", seconds=0.5)

    def confirm(_number: int) -> str:
        try:
            return client.payment_intents.confirm(
                intent.id, {"payment_method": "pm_card_visa"}, {"idempotency_key": "busy"}
            ).status
        except stripe.APIError as error:
            return f"{error.http_status} {error.error.code}"

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(confirm, range(8)))

    assert sorted(answers) == ["409 idempotency_key_in_use"] * 7 + ["succeeded"]
    assert confirm(0) == "succeeded"
    assert len(client.charges.list({"payment_intent": intent.id}).data) == 1


def test_lost_requests_do_nothing_and_lost_answers_did_everything(sandbox) -> None:
    client = sandbox.client()
    before, after = create(client), create(client)

    for intent, kind in ((before, "timeout_before"), (after, "timeout_after")):
        sandbox.fault(kind, operation="confirm_intent")
        with pytest.raises(stripe.APIConnectionError):
            client.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa"})

    assert client.payment_intents.retrieve(before.id).status == "requires_payment_method"
    assert client.payment_intents.retrieve(after.id).status == "succeeded"


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"amount": "abc"}, "parameter_invalid_integer"),
        ({"amount": 0}, "parameter_invalid_integer"),
        ({"amount": 49}, "amount_too_small"),
        ({"amount": 100_000_000}, "amount_too_large"),
        ({"currency": "dollars"}, None),
        ({"colour": "blue"}, "parameter_unknown"),
        ({"payment_method": "pm_nope"}, "resource_missing"),
        ({"payment_method_types": ["card"]}, "payment_method_types_no_longer_supported"),
        ({"allowed_payment_method_types": ["ideal"]}, None),
        ({"allowed_payment_method_types": "card"}, None),
        ({"automatic_payment_methods": {"enabled": True}}, None),
        ({"confirm": True}, "payment_intent_unexpected_state"),
        ({"metadata": "text"}, None),
        ({"payment_method_data": {"type": "ideal"}}, None),
        ({"payment_method_data": {"type": "card", "card": {"token": "x"}}}, "resource_missing"),
        ({"payment_method_data": {"type": "card"}}, "parameter_missing"),
    ],
)
def test_a_wrong_parameter_is_an_invalid_request(sandbox, params: Any, code: str | None) -> None:
    client = sandbox.client()
    before = client.payment_intents.list({"limit": 1}).data

    with pytest.raises(stripe.InvalidRequestError) as caught:
        create(client, **params)

    assert caught.value.code == code
    assert [each.id for each in client.payment_intents.list({"limit": 1}).data] == [
        each.id for each in before
    ]


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.payment_intents.retrieve("pi_nope"),
        lambda client: client.payment_intents.confirm("pi_nope"),
        lambda client: client.payment_intents.cancel("pi_nope"),
        lambda client: client.charges.retrieve("ch_nope"),
        lambda client: client.refunds.retrieve("re_nope"),
        lambda client: client.refunds.create({"payment_intent": "pi_nope"}),
        lambda client: client.refunds.create({}),
        lambda client: client.payment_methods.retrieve("pm_nope"),
        lambda client: client.payment_methods.create({"type": "card", "card": {"token": "tok_x"}}),
        lambda client: client.payment_methods.create({"type": "ideal"}),
        lambda client: client.payment_methods.create({}),
        lambda client: client.payment_intents.list({"limit": 101}),
        lambda client: client.payment_intents.list({"starting_after": "pi_nope"}),
        lambda client: client.payment_intents.create({"amount": 1000}),
        lambda client: client.payment_intents.create({"currency": "usd"}),
        lambda client: client.customers.create({}),
        lambda client: client.payment_intents.cancel(
            create(client).id, {"cancellation_reason": "boredom"}
        ),
        lambda client: client.payment_intents.confirm(create(client).id),
        lambda client: client.payment_intents.create(
            {"amount": 999, "currency": "usd", "confirm": True, "payment_method": "pm_card_visa"}
        ),
    ],
)
def test_what_does_not_exist_or_makes_no_sense_is_refused_in_stripes_shape(sandbox, call) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        call(sandbox.client())

    assert caught.value.error.type == "invalid_request_error"
    assert caught.value.request_id.startswith("req_")


@pytest.mark.parametrize("amount", [0, -5])
def test_a_refund_of_nothing_is_refused(sandbox, amount: int) -> None:
    client = sandbox.client()
    intent = create(client, confirm=True, payment_method="pm_card_visa")

    for params in ({"amount": amount}, {"reason": "boredom"}, {"amount": 99999}):
        with pytest.raises(stripe.InvalidRequestError):
            client.refunds.create({"payment_intent": intent.id, **params})


def test_dynamic_methods_need_a_way_back(sandbox) -> None:
    client = sandbox.client()
    intent = client.payment_intents.create({"amount": 1000, "currency": "eur"})

    with pytest.raises(stripe.InvalidRequestError, match="return_url"):
        client.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa"})
    with pytest.raises(stripe.InvalidRequestError, match="error_on_requires_action"):
        client.payment_intents.confirm(
            intent.id,
            {
                "payment_method": "pm_card_visa",
                "return_url": "https://example.org",
                "error_on_requires_action": True,
            },
        )
    never = client.payment_intents.create(
        {
            "amount": 1000,
            "currency": "eur",
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "confirm": True,
            "payment_method": "pm_card_visa",
        }
    )
    assert never.status == "succeeded"
    assert never.automatic_payment_methods.allow_redirects == "never"


def test_real_card_numbers_are_refused(sandbox) -> None:
    with pytest.raises(stripe.CardError, match="generally unsafe"):
        sandbox.client().payment_methods.create(
            {"type": "card", "card": {"number": "4242424242424242"}}
        )


def test_a_wrong_key_is_an_authentication_error(sandbox) -> None:
    with pytest.raises(stripe.AuthenticationError, match="Invalid API Key provided: sk_test_"):
        create(sandbox.client(key="sk_test_0123456789abcdefghij"))


@pytest.mark.parametrize(
    "header", [{}, {"Authorization": "Digest x"}, {"Authorization": "Basic ?"}]
)
def test_no_key_is_a_401_in_stripes_shape(sandbox, header: dict[str, str]) -> None:
    status, body = request(sandbox, "GET", "/v1/payment_intents", headers=header)

    assert status == 401
    assert body["error"]["message"].startswith("You did not provide an API key")


def test_the_key_may_come_as_basic_authentication_too(sandbox) -> None:
    name = base64.b64encode(f"{sandbox.key}:".encode()).decode()

    status, _ = request(
        sandbox, "GET", "/v1/payment_intents", headers={"Authorization": f"Basic {name}"}
    )

    assert status == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/payment_intents", "amount=100&amount[x]=1"),
        ("POST", "/v1/payment_intents", "metadata[a]=1&metadata=x"),
        ("POST", "/v1/payment_intents", "metadata[a]=1&metadata[a][b]=x"),
        ("POST", "/v1/payment_intents", "[]=1"),
        ("POST", "/v1/payment_intents", "a[b][c][d][e][f][g][h][i]=1"),
        ("POST", "/v1/payment_intents", "\x00=%ff"),
        ("DELETE", "/v1/payment_intents", None),
        ("GET", "/v1/payment_intents?limit=x", None),
        ("GET", "/v1/nothing", None),
        ("GET", "/v1/payment_intents/..%2f..", None),
    ],
)
def test_malformed_requests_are_refused(sandbox, method, path, body) -> None:
    headers = {"Authorization": f"Bearer {sandbox.key}"}

    status, answer = request(sandbox, method, path, body=body, headers=headers)

    assert status in {400, 404}
    assert answer["error"]["type"] == "invalid_request_error"


def test_a_huge_body_is_refused(sandbox) -> None:
    headers = {"Authorization": f"Bearer {sandbox.key}"}

    status, _ = request(sandbox, "POST", "/v1/refunds", body="a" * 300_000, headers=headers)

    assert status == 413


def test_a_key_that_is_too_long_is_refused(sandbox) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="255 characters"):
        create(sandbox.client(), options={"idempotency_key": "k" * 256})


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
