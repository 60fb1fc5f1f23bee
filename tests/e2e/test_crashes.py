"""A worker is killed in the middle of a purchase, and expiration in the middle of a reservation."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from datetime import timedelta

import pytest
import redis

from tests.e2e.people import Person
from tests.e2e.stack import PATIENCE_SECONDS, Stack
from tests.e2e.topics import Watcher

PROCESSES = (
    "tickets-relay",
    "tickets-consumer",
    "orders-raw",
    "orders-consumer",
    "payments-relay",
    "payments-consumer",
    "payments-settler",
    "expiration-consumer",
)
# Partitions and leases of the dead pass on after some seconds, and restarts take a moment.
RECOVERY_SECONDS = 2 * PATIENCE_SECONDS

ONCE = (
    "ticketing.orders.order.created.v1",
    "ticketing.orders.order.completed.v1",
    "ticketing.payments.payment.succeeded.v1",
)


def count_events(topics: Watcher, key: str) -> Counter[str]:
    """Count the events of a key by type. A record may lie there twice; its event has one id."""
    events = {record.headers["ce_id"]: record.type for record in topics.seen if record.key == key}
    return Counter(events.values())


@pytest.mark.parametrize("process", PROCESSES)
def test_purchase_survives_the_death_of_a_process(
    stack: Stack, topics: Watcher, seller: Person, buyer: Person, process
) -> None:
    ticket = seller.list_ticket()
    order = buyer.reserve(ticket["id"])

    killed = stack.kill(process)
    assert buyer.pay(order["id"]).status_code == 201
    topics.wait_for(order["id"], "ticketing.orders.order.completed.v1", within=RECOVERY_SECONDS)
    stack.wait_for_restart(process, killed)

    buyer.wait_for_status(order["id"], "complete")
    buyer.wait_until_held(ticket["id"], order["id"])
    counts = count_events(topics, order["id"])
    assert {event_type: counts[event_type] for event_type in ONCE} == dict.fromkeys(ONCE, 1)


def test_reservation_ends_although_redis_was_wiped(
    stack: Stack, seller: Person, buyer: Person
) -> None:
    """Defect 17: the deadline lived in Redis alone, so losing Redis froze the ticket."""
    order = buyer.reserve(seller.list_ticket()["id"])
    buyer.wait_until_held(order["ticketId"], order["id"])

    with closing(redis.Redis(port=stack.config.ports["redis"])) as client:
        client.flushall()

    assert buyer.wait_for_end(order) >= timedelta(0)


def test_reservation_ends_although_all_of_expiration_was_killed(
    stack: Stack, seller: Person, buyer: Person
) -> None:
    order = buyer.reserve(seller.list_ticket()["id"])
    buyer.wait_until_held(order["ticketId"], order["id"])

    for process in ("redis", *(f"expiration-{part}" for part in ("worker", "beat", "relay"))):
        stack.kill(process)

    assert buyer.wait_for_end(order) >= timedelta(0)
