from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.test import Client

from apps.tickets import selectors, services
from apps.tickets.models import Ticket
from apps.tickets.tests.factories import (
    NOON,
    list_ticket,
    new_id,
    published,
    sign_in,
    token_of,
)

pytestmark = pytest.mark.django_db(transaction=True)

BODY = {"title": "Velvet Harbour, row C", "price": 42.5}


@pytest.fixture
def seller_id() -> str:
    return new_id()


@pytest.fixture
def seller(seller_id: str) -> Client:
    return sign_in(Client(), seller_id)


def send(client: Client, method: str, path: str, body: Any, **extra: Any) -> Any:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    return client.generic(method, path, data, content_type="application/json", **extra)


def post(client: Client, body: Any, **extra: Any) -> Any:
    return send(client, "POST", "/api/tickets", body, **extra)


def put(client: Client, ticket: Ticket | str, body: Any) -> Any:
    ticket_id = ticket if isinstance(ticket, str) else str(ticket.pk)
    return send(client, "PUT", f"/api/tickets/{ticket_id}", body)


def errors(response: Any) -> list[tuple[str, str | None]]:
    return [(error["message"], error.get("field")) for error in response.json()["errors"]]


def test_ticket_is_listed_under_the_courses_names(seller, seller_id):
    response = post(seller, BODY)

    assert response.status_code == 201
    ticket = response.json()
    assert ticket == {
        "id": ticket["id"],
        "title": "Velvet Harbour, row C",
        "price": 42.5,
        "userId": seller_id,
        "version": 1,
    }
    assert Client().get(f"/api/tickets/{ticket['id']}").json() == ticket
    assert [event.version for event in published(selectors.get_ticket(ticket["id"]))] == [1]


def test_bearer_token_is_as_good_as_the_cookie(seller_id):
    token = token_of(seller_id)

    response = post(Client(), BODY, headers={"Authorization": f"Bearer {token}"})

    assert response.status_code == 201


def test_addresses_are_good_with_a_slash_at_the_end(seller):
    response = send(seller, "POST", "/api/tickets/", BODY)

    assert response.status_code == 201
    assert Client().get(f"/api/tickets/{response.json()['id']}/").status_code == 200
    assert Client().get("/api/tickets/").status_code == 200


@pytest.mark.parametrize(
    ("sent", "answered"), [("12.50", 12.5), (12.5, 12.5), (20, 20), ("20.00", 20), (19.99, 19.99)]
)
def test_decimal_prices_go_in_and_out_unchanged(seller, sent, answered):
    response = post(seller, BODY | {"price": sent})

    assert response.status_code == 201
    assert response.json()["price"] == answered
    (event,) = published(selectors.get_ticket(response.json()["id"]))
    assert orjson.loads(bytes(event.payload))["price_cents"] == round(answered * 100)


@pytest.mark.parametrize(
    ("change", "message", "field"),
    [
        ({"title": ""}, "Title is required", "title"),
        ({"title": " \n "}, "Title is required", "title"),
        ({"title": None}, "Title is required", "title"),
        ({"title": 5}, "Title must be text", "title"),
        ({"title": ["x"]}, "Title must be text", "title"),
        ({"title": "x" * 201}, "Title must have at most 200 characters", "title"),
        (
            {"title": "a\x00b"},
            "Title must be one line of text without control characters",
            "title",
        ),
        ({"price": -10}, "Price must be greater than 0", "price"),
        ({"price": 0}, "Price must be greater than 0", "price"),
        ({"price": "abc"}, "Price must be greater than 0", "price"),
        ({"price": None}, "Price must be greater than 0", "price"),
        ({"price": True}, "Price must be greater than 0", "price"),
        ({"price": [10]}, "Price must be greater than 0", "price"),
        ({"price": "NaN"}, "Price must be greater than 0", "price"),
        ({"price": "Infinity"}, "Price must be greater than 0", "price"),
        ({"price": 0.49}, "Price must be at least 0.50: cards cannot be charged less", "price"),
        ({"price": 10.999}, "Price must have at most two decimals", "price"),
        ({"price": 1e15}, "Price must be at most 100,000", "price"),
    ],
)
def test_title_and_price_that_break_a_rule_are_refused_by_name(
    seller, seller_id, change, message, field
):
    ticket = list_ticket(seller_id=seller_id)

    for response in (post(seller, BODY | change), put(seller, ticket, BODY | change)):
        assert response.status_code == 400
        assert errors(response) == [(message, field)]
    assert Ticket.objects.filter(seller_id=seller_id).count() == 1
    assert len(published(ticket)) == 1


def test_all_that_is_wrong_is_said_at_once(seller):
    response = post(seller, {})

    assert response.status_code == 400
    assert sorted(errors(response)) == [
        ("Price must be greater than 0", "price"),
        ("Title is required", "title"),
    ]
    assert all(error["code"] for error in response.json()["errors"])


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"null", b"[]", b'"x"', b"5", b"\xff\xfe", b"NaN", b"{}" * 2,
        b'{"title": "\\ud800", "price": 1}', b'{"title": "x", "price": NaN}',
        b'{"title": "x", "price": 1e999}', b'{"title": "x", "price": ' + b"9" * 5000 + b"}",
        b'{"title": {"$ne": ""}, "price": {"$gt": 0}}', b"[" * 20_000, b'{"a":' * 5_000,
    ],
)  # fmt: skip
def test_no_body_whatever_breaks_the_service(seller, seller_id, body):
    ticket = list_ticket(seller_id=seller_id)

    for response in (post(seller, body), put(seller, ticket, body)):
        assert response.status_code == 400
        assert response.json()["errors"][0]["message"]


def test_huge_body_is_too_large(seller):
    response = post(seller, BODY | {"title": "x" * 200_000})

    assert response.status_code == 413
    assert response.json()["errors"][0]["code"] == "too_large"


def test_form_is_no_json(seller):
    response = seller.post("/api/tickets", BODY)

    assert response.status_code == 415
    assert "errors" in response.json()


@pytest.mark.parametrize("token", ["", "junk", "a.b.c", "é", "x" * 5000])
def test_stranger_or_forger_lists_nothing(token):
    response = post(Client(), BODY, headers={"Authorization": f"Bearer {token}"})

    assert response.status_code == 401
    assert errors(response) == [("Not authorized", None)]


def test_stranger_changes_nothing_and_learns_nothing():
    ticket = list_ticket()

    for response in (put(Client(), ticket, BODY), put(Client(), new_id(), {})):
        assert response.status_code == 401
        assert errors(response) == [("Not authorized", None)]


def test_page_of_another_site_lists_nothing_with_the_visitors_cookie(seller):
    response = post(seller, BODY, headers={"Origin": "https://evil.example"})

    assert response.status_code == 403


def test_seller_edits_the_ticket(seller, seller_id):
    ticket = list_ticket(seller_id=seller_id)

    response = put(seller, ticket, {"title": " Nine Owls ", "price": "10"})

    assert response.status_code == 200
    assert response.json() == {
        "id": str(ticket.pk),
        "title": "Nine Owls",
        "price": 10,
        "userId": seller_id,
        "version": 2,
    }


def test_ticket_of_somebody_else_is_not_edited(seller):
    ticket = list_ticket()

    response = put(seller, ticket, BODY)

    assert response.status_code == 401
    assert errors(response) == [("Not authorized", None)]
    assert selectors.get_ticket(str(ticket.pk)).version == 1


def test_reserved_ticket_is_not_edited_and_shows_its_order(seller, seller_id):
    ticket = list_ticket(seller_id=seller_id)
    services.reserve_ticket(ticket_id=str(ticket.pk), order_id="order-a", now=NOON)

    response = put(seller, ticket, BODY)

    assert response.status_code == 400
    assert errors(response) == [("Cannot edit a reserved ticket", None)]
    shown = Client().get(f"/api/tickets/{ticket.pk}").json()
    assert (shown["orderId"], shown["version"]) == ("order-a", 2)


@pytest.mark.parametrize(
    "ticket_id", ["junk", "0" * 24, "1" * 300, "%00", "%F0%9F%8E%9F", "$where", "..%2f..", "null"]
)
def test_unknown_and_malformed_ids_are_not_found(seller, ticket_id):
    for response in (Client().get(f"/api/tickets/{ticket_id}"), put(seller, ticket_id, BODY)):
        assert response.status_code == 404
        assert errors(response)[0][0] == "Not Found"


def test_withdrawn_ticket_is_not_found_but_by_its_seller(seller, seller_id):
    ticket = list_ticket(seller_id=seller_id)
    services.withdraw_ticket(ticket_id=str(ticket.pk), seller_id=seller_id, now=NOON)

    assert Client().get(f"/api/tickets/{ticket.pk}").status_code == 404
    assert seller.get(f"/api/tickets/{ticket.pk}").status_code == 200


def test_list_without_parameters_is_an_array_of_all_free_tickets_oldest_first():
    for number in range(30):
        list_ticket(title=f"Ticket {number}", now=NOON + timedelta(seconds=number))
    reserved = list_ticket(title="Reserved")
    services.reserve_ticket(ticket_id=str(reserved.pk), order_id="order-a", now=NOON)

    tickets = Client().get("/api/tickets").json()

    assert [ticket["title"] for ticket in tickets] == [f"Ticket {number}" for number in range(30)]
    assert set(tickets[0]) == {"id", "title", "price", "userId", "version"}
    assert Client().get("/api/tickets?utm_source=mail").json() == tickets


def test_list_with_parameters_pages_and_searches():
    for number in range(5):
        list_ticket(title=f"Owl {number}", now=NOON + timedelta(seconds=number))
    list_ticket(title="Harbour")

    answer = Client().get("/api/tickets?page=2&pageSize=2&q=OWL").json()

    assert [ticket["title"] for ticket in answer.pop("tickets")] == ["Owl 2", "Owl 3"]
    assert answer == {"page": 2, "pageSize": 2, "total": 5, "pages": 3}
    newest = Client().get("/api/tickets?sort=newest&pageSize=1&q=owl").json()
    assert newest["tickets"][0]["title"] == "Owl 4"
    assert Client().get("/api/tickets?page=99").json()["tickets"] == []
    assert Client().get("/api/tickets?q=nothing").json()["total"] == 0


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page=0", "page"), ("page=-1", "page"), ("page=abc", "page"), ("page=", "page"),
        ("page=99999999999999999999999", "page"), ("page=1e3", "page"), ("pageSize=0", "pageSize"),
        ("pageSize=101", "pageSize"), ("sort=sideways", "sort"), ("q=" + "x" * 201, "q"),
        ("q=%00", "q"),
    ],
)  # fmt: skip
def test_parameters_that_make_no_sense_are_refused_by_name(query, field):
    response = Client().get(f"/api/tickets?{query}")

    assert response.status_code == 400
    assert errors(response)[0][1] == field


@pytest.mark.parametrize("search", [".*", "$", "(", "%5C", "%F0%9F%8E%9F", "%ff", "a%22%7D", "[a-"])
def test_no_search_whatever_breaks_the_list(search):
    assert Client().get(f"/api/tickets?q={search}").status_code == 200


@pytest.mark.parametrize("method", ["DELETE", "PATCH"])
def test_other_methods_are_refused_in_the_apis_shape(seller, seller_id, method):
    ticket = list_ticket(seller_id=seller_id)

    response = send(seller, method, f"/api/tickets/{ticket.pk}", BODY)

    assert response.status_code == 405
    assert "errors" in response.json()


def test_schema_describes_every_operation_with_examples():
    schema = Client().get("/tickets/api/schema/?format=json").json()

    operations = {
        (path, method): operation
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    }
    assert set(operations) == {
        ("/api/tickets", "get"),
        ("/api/tickets", "post"),
        ("/api/tickets/{ticket_id}", "get"),
        ("/api/tickets/{ticket_id}", "put"),
    }
    for operation in operations.values():
        for answer in operation["responses"].values():
            assert answer["content"]["application/json"]["examples"]
    assert "userId" in schema["components"]["schemas"]["Ticket"]["properties"]
    assert "pageSize" in {
        parameter["name"] for parameter in operations["/api/tickets", "get"]["parameters"]
    }


def test_schema_says_how_to_sign_in_where_that_is_needed():
    schema = Client().get("/tickets/api/schema/?format=json").json()

    assert set(schema["components"]["securitySchemes"]) == {"bearer", "cookie"}
    assert {"bearer": []} in schema["paths"]["/api/tickets"]["post"]["security"]
    assert {"bearer": []} not in schema["paths"]["/api/tickets"]["get"].get("security", [])
