"""The load: people who sell and buy tickets by HTTP, one purchase after the other."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from http import HTTPStatus

import httpx

PATIENCE_SECONDS = 120.0
PAUSE_SECONDS = 0.3
# A person takes a moment between two purchases; the drill is no benchmark.
BREATH_SECONDS = 1.0


class NotSold(Exception):
    """A purchase did not come to its end in time."""


class Shop:
    """The marketplace as its visitors reach it.

    Args:
        base_url: the gateway's address.
    """

    def __init__(self, base_url: str) -> None:
        self._http = httpx.Client(base_url=base_url, timeout=30)

    def sign_up(self) -> None:
        def somebody_new() -> httpx.Response:
            # An answer that was lost may have been a yes: the same name would be refused.
            account = {
                "email": f"drill-{secrets.token_hex(8)}@example.com",
                "password": secrets.token_urlsafe(12),
            }
            return self._http.post("/api/users/signup", json=account)

        self._patiently("sign up", somebody_new)

    def buy(self) -> str:
        """Offer a ticket, reserve it, pay for it; return the order's id once it is paid.

        Raises:
            NotSold: a step did not succeed in time.
        """
        offer = {"title": f"Drill {secrets.token_hex(6)}", "price": 12.5}
        ticket = self._patiently("offer", lambda: self._http.post("/api/tickets", json=offer))
        wish = {"ticketId": ticket["id"]}
        order = self._patiently("reserve", lambda: self._http.post("/api/orders", json=wish))
        card = {"orderId": order["id"], "token": "tok_visa"}
        self._patiently("pay", lambda: self._http.post("/api/payments", json=card))
        return str(order["id"])

    def await_complete(self, order_id: str) -> str:
        """Wait until the order is complete and its ticket is held by it; return the ticket's id.

        Raises:
            NotSold: it is not, in time.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            order = self._http.get(f"/api/orders/{order_id}").json()
            ticket = self._http.get(f"/api/tickets/{order['ticketId']}").json()
            if order["status"] == "complete" and ticket.get("orderId") == order_id:
                return str(order["ticketId"])
            time.sleep(PAUSE_SECONDS)
        raise NotSold(f"order {order_id} is not complete after {PATIENCE_SECONDS:.0f} s")

    def close(self) -> None:
        self._http.close()

    def _patiently(self, what: str, request: Callable[[], httpx.Response]) -> dict[str, str]:
        """Repeat what the next service has not heard of yet, or cannot answer just now."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                answer = request()
            except httpx.TransportError as exc:
                said = str(exc)
            else:
                if answer.status_code in {HTTPStatus.OK, HTTPStatus.CREATED}:
                    found: dict[str, str] = answer.json()
                    return found
                said = f"{answer.status_code} {answer.text[:200]}"
            if time.monotonic() > deadline:
                raise NotSold(f"{what}: {said}")
            time.sleep(PAUSE_SECONDS)


class Buyers:
    """Several people who buy until they are told to stop; `paid` are the orders they paid."""

    def __init__(self, base_url: str, people: int) -> None:
        self.paid: list[str] = []
        self._base_url = base_url
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._buy, daemon=True) for _ in range(people)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each finish the purchase in hand."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _buy(self) -> None:
        shop = Shop(self._base_url)
        try:
            shop.sign_up()
            while not self._stopping.is_set():
                self.paid.append(shop.buy())
                self._stopping.wait(BREATH_SECONDS)
        except NotSold as exc:
            print(f"         a buyer gave up: {exc}", flush=True)
        finally:
            shop.close()
