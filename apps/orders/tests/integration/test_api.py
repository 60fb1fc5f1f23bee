from __future__ import annotations

import json
import re
from datetime import datetime

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from rest_framework.throttling import ScopedRateThrottle

from apps.core.identity import issue_token
from apps.orders.models import Order
from apps.orders.tests.factories import list_ticket, new_id
from apps.orders.tests.story import cancel, deliver, published, reload, reserve, succeeded

pytestmark = pytest.mark.django_db(transaction=True)

ORDERS = "/api/orders"
MISSING = "TicketId must be provided"


def order_of(answer):
    return Order.objects.get(pk=answer.json()["id"])


def send(client, body, **headers):
    return client.post(ORDERS, body, content_type="application/json", headers=headers)


def messages(answer):
    return [error["message"] for error in answer.json()["errors"]]


def test_reserved_ticket_is_answered_in_the_names_of_the_course(buyer):
    ticket = list_ticket(title="Front row", price_cents=1250, version=3)

    answer = send(buyer, {"ticketId": ticket.ticket_id})

    body = dict(answer.json())
    assert answer.status_code == 201
    assert body.pop("id") == str(order_of(answer).pk)
    assert datetime.fromisoformat(body.pop("expiresAt")) > timezone.now()
    assert body == {
        "userId": "buyer",
        "status": "created",
        "ticketId": ticket.ticket_id,
        "version": 1,
        "ticket": {
            "id": ticket.ticket_id,
            "title": "Front row",
            "price": 12.5,
            "version": 3,
        },
    }


def test_price_is_a_number_with_at_most_two_decimals(buyer):
    ticket = list_ticket(price_cents=1910)

    answer = send(buyer, {"ticketId": ticket.ticket_id})

    assert re.search(rb'"price": ?19\.1[,}]', answer.content)


def test_bearer_token_is_as_good_as_the_cookie():
    token = issue_token("bearer", "b@example.com", is_staff=False, now=timezone.now())

    answer = send(Client(), {"ticketId": list_ticket().ticket_id}, Authorization=f"Bearer {token}")

    assert (answer.status_code, answer.json()["userId"]) == (201, "bearer")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", ORDERS),
        ("post", ORDERS),
        ("get", f"{ORDERS}/019ab3c0-5b1e-7c3a-9d52-6f0d4c1be0a7"),
        ("delete", f"{ORDERS}/nonsense"),
    ],
)
def test_stranger_is_refused_with_the_text_that_clients_know(method, path):
    answer = getattr(Client(), method)(path)

    assert answer.status_code == 401
    assert messages(answer) == ["Not authorized"]


@pytest.mark.parametrize("token", ["forged", "a.b.c", "x" * 5000])
def test_forged_token_is_nobodys(token):
    client = Client()
    client.cookies["session"] = token

    assert client.get(ORDERS).status_code == 401


@pytest.mark.parametrize(
    "body",
    [{}, {"ticketId": ""}, {"ticketId": "  "}, {"ticketId": None}, {"ticketId": []},
     {"ticketId": {}}, {"ticketId": True}, {"ticket": "x"}],
)  # fmt: skip
def test_ticket_id_must_be_provided(buyer, body):
    answer = send(buyer, body)

    assert answer.status_code == 400
    assert messages(answer) == [MISSING]
    assert answer.json()["errors"][0]["field"] == "ticketId"


@pytest.mark.parametrize(
    "ticket_id", ["unknown", "5c8ee2be3ed1be7f3b9d2f2b", "x" * 10_000, "'; DROP TABLE", "☂", 12]
)
def test_unknown_or_malformed_ticket_is_not_found(buyer, ticket_id):
    answer = send(buyer, {"ticketId": ticket_id})

    assert answer.status_code == 404
    assert messages(answer) == ["Not Found"]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"null", "application/json", 400),
        (b'"text"', "application/json", 400),
        (b"NaN", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b'{"ticketId": "\\u0000"}', "application/json", 400),
        (b'{"ticketId": "\\ud800"}', "application/json", 400),
        (b"[" * 5_000, "application/json", 400),
        (b"ticketId=1", "application/x-www-form-urlencoded", 415),
        (b"<a/>", "text/xml", 415),
        (json.dumps({"ticketId": "x" * 200_000}).encode(), "application/json", 413),
    ],
)
def test_bad_bodies_are_refused_in_the_shape_of_errors(buyer, body, content_type, status):
    answer = buyer.post(ORDERS, body, content_type=content_type)

    assert answer.status_code == status
    assert all(error["message"] and error["code"] for error in answer.json()["errors"])


def test_claimed_ticket_is_refused_with_the_text_that_clients_know(buyer):
    order = reserve(buyer_id="another")

    answer = send(buyer, {"ticketId": order.ticket_id})

    assert answer.status_code == 400
    assert answer.json()["errors"] == [
        {"message": "Ticket is already reserved", "code": "ticket_already_reserved"}
    ]


def test_list_holds_ones_own_orders_oldest_first(buyer):
    first = reserve()
    second = reserve()
    reserve(buyer_id="another")
    cancel(first)

    answer = buyer.get(ORDERS)

    assert [each["id"] for each in answer.json()] == [str(first.pk), str(second.pk)]
    assert answer.json()[0]["status"] == "cancelled"
    assert answer.json()[0]["ticket"]["price"] == 12.5


def test_list_comes_in_pages_to_whom_asks_for_pages(buyer):
    orders = [str(reserve().pk) for _ in range(3)]

    second = buyer.get(f"{ORDERS}?page=2&pageSize=2").json()
    beyond = buyer.get(f"{ORDERS}?page=9").json()

    assert [each["id"] for each in second.pop("orders")] == orders[2:]
    assert second == {"page": 2, "pageSize": 2, "total": 3, "pages": 2}
    assert beyond["orders"] == []


def test_page_of_no_orders_is_empty(buyer):
    assert buyer.get(f"{ORDERS}?page=1").json() == {
        "orders": [],
        "page": 1,
        "pageSize": 24,
        "total": 0,
        "pages": 0,
    }


@pytest.mark.parametrize(
    "query", ["page=0", "page=x", "page=%00", "pageSize=101", "page=" + "9" * 5_000, "page="]
)
def test_page_that_cannot_be_is_refused(buyer, query):
    answer = buyer.get(f"{ORDERS}?{query}")

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] in {"page", "pageSize"}


def test_order_is_shown_to_its_buyer_alone(buyer, sign_in):
    order = reserve()

    assert buyer.get(f"{ORDERS}/{order.pk}").json()["id"] == str(order.pk)
    assert buyer.get(f"{ORDERS}/{order.pk}/").status_code == 200
    assert sign_in("another").get(f"{ORDERS}/{order.pk}").status_code == 401


@pytest.mark.parametrize(
    "order_id", ["1", "nonsense", "x" * 2_000, "%00", "%F0%28%8C%28", "..%2f", "☂", "a b"]
)
@pytest.mark.parametrize("method", ["get", "delete"])
def test_malformed_order_id_is_not_found(buyer, method, order_id):
    answer = getattr(buyer, method)(f"{ORDERS}/{order_id}")

    assert answer.status_code == 404
    assert messages(answer) == ["Not Found"]


@pytest.mark.parametrize("method", ["get", "delete"])
def test_unknown_order_is_not_found(buyer, method):
    assert getattr(buyer, method)(f"{ORDERS}/{new_id()}").status_code == 404


def test_cancelling_twice_is_answered_alike_and_told_once(buyer):
    order = reserve()

    answers = [buyer.delete(f"{ORDERS}/{order.pk}") for _ in range(2)]

    assert [(each.status_code, each.content) for each in answers] == [(204, b"")] * 2
    assert reload(order).is_cancelled
    assert published(order) == ["OrderCreated", "OrderCancelled"]


def test_anothers_order_is_refused_whatever_its_status(sign_in):
    order = reserve()
    cancelled = cancel(reserve())

    for each in (order, cancelled):
        answer = sign_in("another").delete(f"{ORDERS}/{each.pk}")
        assert (answer.status_code, messages(answer)) == (401, ["Not authorized"])
    assert reload(order).is_open


def test_paid_order_is_not_cancelled(buyer):
    order = reserve()
    deliver(succeeded(order))

    answer = buyer.delete(f"{ORDERS}/{order.pk}")

    assert answer.status_code == 400
    assert messages(answer) == ["A paid order cannot be cancelled"]
    assert reload(order).is_complete


def test_foreign_page_cannot_use_the_buyers_cookie(buyer):
    order = reserve()

    answer = buyer.delete(f"{ORDERS}/{order.pk}", headers={"Origin": "https://evil.example"})

    assert answer.status_code == 403
    assert reload(order).is_open


@pytest.mark.parametrize("method", ["put", "patch"])
def test_other_methods_are_refused(buyer, method):
    answer = getattr(buyer, method)(ORDERS)

    assert answer.status_code == 405
    assert answer.json()["errors"][0]["code"] == "method_not_allowed"


def test_too_many_requests_are_told_to_wait(buyer, monkeypatch):
    monkeypatch.setattr(ScopedRateThrottle, "THROTTLE_RATES", {"orders": "2/min"})
    cache.clear()

    answers = [buyer.get(ORDERS).status_code for _ in range(3)]
    cache.clear()

    assert answers == [200, 200, 429]


def test_schema_speaks_the_names_of_the_api(buyer):
    schema = buyer.get("/orders/api/schema/?format=json").content.decode()

    document = json.loads(schema)
    assert set(document["paths"]) >= {"/api/orders", "/api/orders/{order_id}"}
    order = document["components"]["schemas"]["Order"]["properties"]
    assert set(order) == {"id", "userId", "status", "expiresAt", "ticketId", "version", "ticket"}
    created = document["paths"]["/api/orders"]["post"]
    assert created["requestBody"]["content"]["application/json"]["examples"]
    assert created["responses"]["400"]["content"]["application/json"]["examples"]
