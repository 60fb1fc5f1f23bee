"""People who use the API by HTTP alone, with the field names of the course's clients."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.e2e.stack import LONGEST_WINDOW_SECONDS, PATIENCE_SECONDS, eventually

PASSWORD = "correct horse battery"
TIMEOUT_SECONDS = 30.0
GOOD_CARD = "tok_visa"
DECLINED_CARD = "tok_chargeDeclined"

Json = dict[str, Any]


def make_email(role: str = "person") -> str:
    return f"{role}-{secrets.token_hex(8)}@example.com"


def make_title() -> str:
    return f"Row {uuid.uuid4().hex[:12]}, Harbour Theatre"


SIGN_UPS_AT_ONCE = 8


class Person:
    """Somebody with an account, signed in by cookie or, as programs do, by Bearer token."""

    def __init__(self, base_url: str) -> None:
        self.http = httpx.Client(base_url=base_url, timeout=TIMEOUT_SECONDS)
        self.email = make_email()
        self.id = ""

    def sign_up(self) -> None:
        answer = self.http.post(
            "/api/users/signup", json={"email": self.email, "password": PASSWORD}
        )
        assert answer.status_code == 201, answer.text
        self.id = answer.json()["id"]

    def use_bearer_token(self) -> None:
        token = self.http.cookies["session"]
        self.http.cookies.clear()
        self.http.headers["Authorization"] = f"Bearer {token}"

    def list_ticket(self, *, price: float | str = 12.5, title: str = "") -> Json:
        answer = self.http.post(
            "/api/tickets", json={"title": title or make_title(), "price": price}
        )
        assert answer.status_code == 201, answer.text
        return answer.json()

    def see_ticket(self, ticket_id: str) -> Json:
        answer = self.http.get(f"/api/tickets/{ticket_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def try_to_reserve(self, ticket_id: str) -> httpx.Response:
        """Ask for the ticket, again while the orders service has not heard of it yet."""

        def ask() -> httpx.Response | None:
            answer = self.http.post("/api/orders", json={"ticketId": ticket_id})
            return None if answer.status_code == 404 else answer

        return eventually(ask, what="orders to hear of the ticket")

    def reserve(self, ticket_id: str) -> Json:
        answer = self.try_to_reserve(ticket_id)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def see_order(self, order_id: str) -> Json:
        answer = self.http.get(f"/api/orders/{order_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def pay(self, order_id: str, token: str = GOOD_CARD) -> httpx.Response:
        """Pay, again while the payments service has not heard of the order yet."""

        def ask() -> httpx.Response | None:
            answer = self.http.post("/api/payments", json={"token": token, "orderId": order_id})
            return None if answer.status_code == 404 else answer

        return eventually(ask, what="payments to hear of the order")

    def cancel(self, order_id: str) -> httpx.Response:
        return self.http.delete(f"/api/orders/{order_id}")

    def wait_for_status(self, order_id: str, status: str) -> Json:
        return eventually(
            lambda: order if (order := self.see_order(order_id))["status"] == status else None,
            what=f"order {order_id} to be {status}",
        )

    def wait_until_free(self, ticket_id: str) -> Json:
        return eventually(
            lambda: None if (ticket := self.see_ticket(ticket_id)).get("orderId") else ticket,
            what=f"ticket {ticket_id} to be free",
        )

    def wait_until_held(self, ticket_id: str, order_id: str) -> Json:
        return eventually(
            lambda: (
                ticket
                if (ticket := self.see_ticket(ticket_id)).get("orderId") == order_id
                else None
            ),
            what=f"ticket {ticket_id} to be held by {order_id}",
        )

    def wait_for_end(self, order: Json) -> timedelta:
        """Wait until an unpaid order is cancelled and its ticket free; return how late that was.

        How late it may be is measured by `make bench`, since a busy machine is late for all.
        """
        deadline = datetime.fromisoformat(order["expiresAt"])
        window = (deadline - datetime.now(UTC)).total_seconds()
        assert window < LONGEST_WINDOW_SECONDS, "start the stack with EXPIRATION_WINDOW_SECONDS=20"

        def has_ended() -> bool:
            is_cancelled = self.see_order(order["id"])["status"] == "cancelled"
            return is_cancelled and "orderId" not in self.see_ticket(order["ticketId"])

        eventually(has_ended, within=window + PATIENCE_SECONDS, what="the reservation to end")
        return datetime.now(UTC) - deadline


def sign_up_many(base_url: str, count: int) -> list[Person]:
    """Return so many people with accounts, some of whom signed up at the same time."""

    def sign_up(_: int) -> Person:
        person = Person(base_url)
        person.sign_up()
        return person

    with ThreadPoolExecutor(SIGN_UPS_AT_ONCE) as pool:
        return list(pool.map(sign_up, range(count)))


@contextmanager
def signed_up(base_url: str) -> Iterator[Person]:
    person = Person(base_url)
    with person.http:
        person.sign_up()
        yield person
