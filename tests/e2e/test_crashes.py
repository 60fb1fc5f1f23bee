"""A process is killed in the middle of a purchase, which ends right all the same."""

from __future__ import annotations

from collections import Counter

import pytest

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
# A relay that died holds its lease for a while, and supervision waits a moment before restarts.
RECOVERY_SECONDS = 2 * PATIENCE_SECONDS

ONCE = (
    "ticketing.orders.order.created.v1",
    "ticketing.orders.order.completed.v1",
    "ticketing.payments.payment.succeeded.v1",
)


@pytest.mark.parametrize("process", PROCESSES)
def test_purchase_survives_the_death_of_a_process(
    stack: Stack, topics: Watcher, seller: Person, buyer: Person, process
) -> None:
    ticket = seller.list_ticket()
    order = buyer.reserve(ticket["id"])

    killed = stack.kill(process)
    paid = buyer.pay(order["id"])
    completed = topics.wait_for(
        order["id"], "ticketing.orders.order.completed.v1", within=RECOVERY_SECONDS
    )
    stack.wait_for_restart(process, killed)

    assert paid.status_code == 201
    assert completed.fields["status"] == "complete"
    buyer.wait_for_status(order["id"], "complete")
    buyer.wait_until_held(ticket["id"], order["id"])
    # A record may lie on its topic twice after a crash; an event has one id, and takes effect once.
    events = {(record.headers["ce_id"], record.type) for record in topics.seen}
    counts = Counter(
        event_type
        for event_id, event_type in events
        if any(
            record.key == order["id"] and record.headers["ce_id"] == event_id
            for record in topics.seen
        )
    )
    assert {event_type: counts[event_type] for event_type in ONCE} == dict.fromkeys(ONCE, 1)
