from __future__ import annotations

import base64
from typing import Any

import pytest
import stripe

from deploy.sandbox.tests.calls import create, request


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
