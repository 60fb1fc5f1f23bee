"""How long after its deadline is an unpaid order cancelled and its ticket free again?

Runs against a running stack with a short window, from outside, by HTTP:

    make run EXPIRATION_WINDOW_SECONDS=5        # in one terminal
    python -m bench expiry                      # in another

Half of the orders run out as they are. Before the other half does, Redis is wiped.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from contextlib import closing

import redis

from tests.e2e.people import Person, signed_up
from tests.e2e.stack import Stack

GOAL_SECONDS = 2.0
ORDERS = 10


def run(orders: int) -> int:
    """Measure on the running stack, print it, and return the exit status."""
    stack = Stack.from_environment()
    worst = 0.0
    for name, is_wiped in (("alarm and sweep", False), ("Redis wiped", True)):
        lateness = measure(stack, orders, is_wiped=is_wiped)
        worst = max(worst, *lateness)
        print(
            f"{name:16} {orders} orders, one after the other: "
            f"median {statistics.median(lateness):.2f} s, longest {max(lateness):.2f} s late"
        )
    print(f"goal: {GOAL_SECONDS:.0f} s, {'reached' if worst <= GOAL_SECONDS else 'MISSED'}")
    return int(worst > GOAL_SECONDS)


def measure(stack: Stack, orders: int, *, is_wiped: bool) -> Sequence[float]:
    """Return by how many seconds each order ended after its deadline."""
    with signed_up(stack.base_url) as seller, signed_up(stack.base_url) as buyer:
        return [end_one(stack, seller, buyer, is_wiped=is_wiped) for _ in range(orders)]


def end_one(stack: Stack, seller: Person, buyer: Person, *, is_wiped: bool) -> float:
    ticket = seller.list_ticket()
    order = buyer.reserve(ticket["id"])
    buyer.wait_until_held(ticket["id"], order["id"])
    if is_wiped:
        with closing(redis.Redis(port=stack.config.ports["redis"])) as client:
            client.flushall()
    return buyer.wait_for_end(order).total_seconds()
