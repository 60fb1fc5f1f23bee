"""Servers, and processes that the purchase may not even need, are killed in its midst.

The buyer may see an error page then, and tries again as people do: the purchase ends right, and
the card is charged once.
"""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from tests.e2e.people import GOOD_CARD, TIMEOUT_SECONDS, Person
from tests.e2e.stack import PATIENCE_SECONDS, Stack, eventually

SERVERS = ("kafka", "connect", "registry", "mongod", "postgres", "redis", "provider", "gateway")
OTHERS = (
    "auth-web",
    "auth-relay",
    "auth-consumer",
    "auth-mailer",
    "tickets-web",
    "orders-web",
    "payments-web",
    "expiration-web",
    "expiration-relay",
    "expiration-worker",
    "expiration-beat",
)
# Kafka and Connect are Java: they take their time to start on a machine that has other work.
RECOVERY_SECONDS = 4 * PATIENCE_SECONDS
PAID_ALREADY = "order_already_paid"
SOLD_VERSION = 3


@pytest.mark.parametrize("process", [*SERVERS, *OTHERS])
def test_purchase_survives_the_death_of_a_server(
    stack: Stack, seller: Person, buyer: Person, process
) -> None:
    ticket = seller.list_ticket()
    order = buyer.reserve(ticket["id"])
    # From here on payments needs nobody but its database and the provider.
    eventually(lambda: is_payable(buyer, order["id"]), what="payments to hear of the order")

    killed = stack.kill(process)
    pay_until_told(buyer, order["id"])
    stack.wait_for_restart(process, killed)

    eventually(
        lambda: calmly(lambda: buyer.see_order(order["id"])["status"] == "complete"),
        within=RECOVERY_SECONDS,
        what=f"order {order['id']} to be complete",
    )
    # Listed, held, sold: the third version is made of OrderCompleted, so that has come through too.
    eventually(
        lambda: calmly(lambda: buyer.see_ticket(ticket["id"])["version"] == SOLD_VERSION),
        within=RECOVERY_SECONDS,
        what=f"ticket {ticket['id']} to be sold",
    )
    assert buyer.see_ticket(ticket["id"])["orderId"] == order["id"]
    assert count_charges(stack, order["id"]) == 1
    assert ticket["id"] not in {each["id"] for each in buyer.http.get("/api/tickets").json()}


def is_payable(buyer: Person, order_id: str) -> bool:
    return buyer.http.get(f"/payments/{order_id}/").status_code == 200


def pay_until_told(buyer: Person, order_id: str) -> None:
    """Press the button again for as long as there is no answer, or none but an error page."""

    def press() -> bool:
        try:
            answer = buyer.http.post(
                "/api/payments", json={"token": GOOD_CARD, "orderId": order_id}
            )
        except httpx.TransportError:
            return False
        if answer.status_code == 201:
            return True
        errors = answer.json()["errors"] if answer.status_code == 400 else []
        return any(error["code"] == PAID_ALREADY for error in errors)

    eventually(press, within=RECOVERY_SECONDS, what=f"a clear answer about order {order_id}")


def calmly(check: Callable[[], bool]) -> bool:
    """Ask, and take an error page or none for a no: the server is on its way back."""
    try:
        return check()
    except (AssertionError, httpx.TransportError):
        return False


def count_charges(stack: Stack, order_id: str) -> int:
    """Ask the provider how often it took money for the order."""
    config = stack.config
    answer = httpx.get(
        f"http://127.0.0.1:{config.ports['provider']}/v1/payment_intents",
        params={"limit": 100},
        headers={"Authorization": f"Bearer {config.secrets['STRIPE_KEY']}"},
        timeout=TIMEOUT_SECONDS,
    )
    assert answer.status_code == 200, answer.text
    return sum(
        intent["status"] == "succeeded" and intent["metadata"].get("order_id") == order_id
        for intent in answer.json()["data"]
    )
