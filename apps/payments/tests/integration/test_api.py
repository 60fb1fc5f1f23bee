from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.throttling import ScopedRateThrottle

from apps.core.identity import issue_token
from apps.payments import services
from apps.payments.gateway import provider
from apps.payments.models import Payment
from apps.payments.tests.factories import (
    BUYER,
    make_order,
    order_cancelled,
    order_expired,
    payment_of,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("stripe_provider")]


def client_of(user_id: str = BUYER) -> Client:
    token = issue_token(user_id, f"{user_id}@example.org", False, timezone.now())  # noqa: FBT003
    return Client(headers={"Authorization": f"Bearer {token}"}, raise_request_exception=False)


def post(body: Any, client: Client | None = None, path: str = "/api/payments") -> Any:
    data = body if isinstance(body, str | bytes) else json.dumps(body)
    return (client or client_of()).post(path, data, content_type="application/json")


def order_now(**changes: Any) -> Any:
    return make_order(now=timezone.now(), **changes)


def pay(order: Any, token: str = "tok_visa", client: Client | None = None) -> Any:
    return post({"token": token, "orderId": order.order_id}, client)


def error_of(response: Any) -> dict[str, str]:
    [error] = response.json()["errors"]
    return error


@pytest.mark.parametrize("path", ["/api/payments", "/api/payments/"])
def test_a_payment_is_answered_with_its_id(sandbox, path: str) -> None:
    order = order_now()

    response = post({"token": "tok_visa", "orderId": order.order_id}, path=path)

    assert response.status_code == 201
    assert response.json() == {"id": payment_of(order).paid_payment_id}
    assert len(sandbox.charges_of(order.order_id)) == 1


def test_the_cookie_signs_in_as_well() -> None:
    client = Client()
    client.cookies["session"] = issue_token(BUYER, "b@example.org", False, timezone.now())  # noqa: FBT003

    assert pay(order_now(), client=client).status_code == 201


@pytest.mark.parametrize("header", ["", "Bearer forged", "Basic eDp5"])
def test_strangers_are_refused(header: str) -> None:
    client = Client(headers={"Authorization": header} if header else {})

    response = pay(order_now(), client=client)

    assert response.status_code == 401
    assert error_of(response) == {"message": "Not authorized", "code": "not_authorized"}


def test_anothers_order_is_refused() -> None:
    order = order_now()

    response = pay(order, client=client_of("somebody-else"))

    assert response.status_code == 401
    assert error_of(response)["message"] == "Not authorized"
    assert payment_of(order).attempts == 0


@pytest.mark.parametrize("order_id", ["0" * 24, "nonsense", "019ab3c0-5b1e-7c3a-9d52-6f0d4c1be0a7"])
def test_an_unknown_order_is_not_found(order_id: str) -> None:
    response = post({"token": "tok_visa", "orderId": order_id})

    assert response.status_code == 404
    assert error_of(response) == {"message": "Not Found", "code": "order_not_found"}


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({"orderId": "x"}, "token", "Token must be provided"),
        ({"token": "", "orderId": "x"}, "token", "Token must be provided"),
        ({"token": None, "orderId": "x"}, "token", "Token must be provided"),
        ({"token": [], "orderId": "x"}, "token", "Token must be provided"),
        ({"token": "t" * 256, "orderId": "x"}, "token", None),
        ({"token": "t\x00", "orderId": "x"}, "token", None),
        ({"token": "tok_visa"}, "orderId", "OrderId must be provided"),
        ({"token": "tok_visa", "orderId": {}}, "orderId", "OrderId must be provided"),
        ({"token": "tok_visa", "orderId": "  "}, "orderId", "OrderId must be provided"),
        ({"token": "tok_visa", "orderId": True}, "orderId", "OrderId must be provided"),
    ],
)
def test_missing_and_malformed_fields_are_named(body, field, message) -> None:
    response = post(body)

    assert response.status_code == 400
    assert error_of(response)["field"] == field
    assert message in {None, error_of(response)["message"]}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 400),
        ("{", 400),
        ("[]", 400),
        ("null", 400),
        ('"text"', 400),
        ("1", 400),
        (b"\xff\xfe", 400),
        ('{"token": "\\ud800", "orderId": "x"}', 400),
        ("[" * 5000, 400),
        ('{"token": "' + "a" * 70_000 + '"}', 413),
        ({"token": "tok_visa", "orderId": 12}, 404),
        ({"token": "tok_visa", "orderId": "é" * 2000}, 404),
        ({"token": "tok_visa", "orderId": "../../etc"}, 404),
        ({"token": "tok_visa", "orderId": {"$ne": ""}}, 400),
    ],
)
def test_bad_input_is_a_clear_refusal_and_never_a_server_error(body, status) -> None:
    response = post(body)

    assert response.status_code == status
    assert response.json()["errors"][0]["message"]


def test_other_content_types_and_methods_are_refused() -> None:
    client = client_of()

    assert client.post("/api/payments", {"token": "x"}).status_code == 415
    assert client.get("/api/payments").status_code == 405
    assert client.post("/api/payments/1", {}).status_code == 404


def test_another_sites_page_cannot_pay_with_the_buyers_cookie() -> None:
    client = Client()
    client.cookies["session"] = issue_token(BUYER, "b@example.org", False, timezone.now())  # noqa: FBT003
    order = order_now()

    response = client.post(
        "/api/payments",
        json.dumps({"token": "tok_visa", "orderId": order.order_id}),
        content_type="application/json",
        headers={"Origin": "https://evil.example"},
    )

    assert response.status_code == 403
    assert payment_of(order).attempts == 0


def test_a_decline_is_told_in_the_providers_words() -> None:
    response = pay(order_now(), "tok_chargeDeclined")

    assert response.status_code == 400
    assert error_of(response) == {"message": "Your card was declined.", "code": "generic_decline"}


def test_an_order_is_paid_expired_or_cancelled_already() -> None:
    paid, expired, cancelled = order_now(), order_now(), order_now()
    pay(paid)
    now = timezone.now()
    services.close_payment(order=order_expired(expired), reason=Payment.Reason.EXPIRED, now=now)
    services.close_payment(
        order=order_cancelled(cancelled), reason=Payment.Reason.CANCELLED, now=now
    )

    answers = [pay(order) for order in (paid, expired, cancelled)]

    assert [response.status_code for response in answers] == [400] * 3
    assert [error_of(response)["code"] for response in answers] == [
        "order_already_paid",
        "order_expired",
        "order_cancelled",
    ]


def test_an_unknown_outcome_is_neither_success_nor_failure(sandbox) -> None:
    order = order_now()
    sandbox.fault("timeout_after", operation="confirm_intent")

    response = pay(order)

    assert response.status_code == 202
    assert response.json()["status"] == "confirming"
    assert response.json()["id"] == payment_of(order).active_payment_id
    again = pay(order)
    assert (again.status_code, again.json()["id"]) == (201, response.json()["id"])
    assert len(sandbox.charges_of(order.order_id)) == 1


def test_a_wrong_key_of_ours_is_not_the_buyers_failure(sandbox, settings) -> None:
    settings.STRIPE_KEY = "sk_test_" + "wrong" * 8
    provider.cache_clear()

    assert pay(order_now()).status_code == 202


def test_too_many_requests_are_told_to_wait(monkeypatch) -> None:
    monkeypatch.setattr(ScopedRateThrottle, "THROTTLE_RATES", {"payments": "1/min"})
    client = client_of("hurried")
    order = order_now(buyer_id="hurried")

    assert pay(order, client=client).status_code == 201
    response = pay(order, client=client)

    assert response.status_code == 429
    assert error_of(response)["code"] == "throttled"


def test_the_api_describes_itself_with_examples() -> None:
    schema = Client().get("/payments/api/schema/?format=json")

    operation = json.loads(schema.content)["paths"]["/api/payments"]["post"]
    assert {"201", "202", "400", "401", "404", "429"} <= set(operation["responses"])
    assert "tok_visa" in json.dumps(operation["requestBody"])
