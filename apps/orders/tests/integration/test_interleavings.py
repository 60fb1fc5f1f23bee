"""Whatever reaches orders, in whatever sequence and however often, its rules hold.

Stricter than the world: payments would never send some of these sequences, since it raises one
version per order and closes only what is unpaid.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import orjson
import pytest
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.core.errors import Conflict
from apps.orders.models import Order
from apps.orders.tests.factories import list_ticket
from apps.orders.tests.story import (
    cancel,
    closed,
    deliver,
    expired,
    failed,
    published,
    refunded,
    refunded_in_part,
    reload,
    reserve,
    started,
    succeeded,
)
from apps.outbox.models import OutboxEvent

pytestmark = pytest.mark.django_db(transaction=True)

PAYMENT_EVENTS = {
    "started": started,
    "succeeded": succeeded,
    "failed": failed,
    "part_refunded": refunded_in_part,
    "refunded": refunded,
}
STEP_NAMES = ["reserve", "cancel", "give_back", "expired", "closed", *PAYMENT_EVENTS]


@dataclass(frozen=True)
class Step:
    name: str
    buyer: int
    attempt: int
    version: int


@dataclass
class World:
    """One ticket, three buyers, and what the providers and clocks of this run said so far."""

    ticket_id: str
    orders: list[Order] = field(default_factory=list)
    succeeded: set[str] = field(default_factory=set)
    refunded: set[str] = field(default_factory=set)
    refunded_first: set[str] = field(default_factory=set)
    given_back: set[Order] = field(default_factory=set)
    expired: set[Order] = field(default_factory=set)
    closed: set[Order] = field(default_factory=set)
    cancelled: set[Order] = field(default_factory=set)

    def do(self, step: Step) -> None:
        if step.name == "reserve":
            self._try(lambda: self.orders.append(reserve(self.ticket_id, f"buyer-{step.buyer}")))
            return
        if not self.orders:
            return
        order = self.orders[step.buyer % len(self.orders)]
        payment_id = f"{order.pk}:{step.attempt}"
        if step.name == "cancel":
            self._try(lambda: cancel(order))
            self.cancelled.add(order)
        elif step.name == "give_back":
            with override_settings(PAID_ORDER_CANCELLATION_SECONDS=3600):
                self._try(lambda: cancel(order))
            self.cancelled.add(order)
            self.given_back.add(order)
        elif step.name == "expired":
            deliver(expired(order))
            self.expired.add(order)
        elif step.name == "closed":
            deliver(closed(order, step.version))
            self.closed.add(order)
        else:
            deliver(PAYMENT_EVENTS[step.name](order, payment_id, step.version))
            self._note_payment(step.name, payment_id)

    def _note_payment(self, name: str, payment_id: str) -> None:
        if name == "succeeded":
            self.succeeded.add(payment_id)
        elif name == "refunded":
            self.refunded.add(payment_id)
            if payment_id not in self.succeeded:
                self.refunded_first.add(payment_id)

    def check(self) -> None:
        claims = Order.objects.filter(ticket_id=self.ticket_id, status__in=Order.CLAIMING)
        assert claims.count() <= 1
        for order in self.orders:
            self._check_order(reload(order))

    def _check_order(self, order: Order) -> None:
        names = published(order)
        counts = Counter(names)
        assert order.version == len(names)
        assert names[0] == "OrderCreated"
        for name in ("OrderCreated", "OrderExpired", "OrderCompleted"):
            assert counts[name] <= 1
        paid_at = names.index("OrderCompleted") if counts["OrderCompleted"] else len(names)
        before, after = Counter(names[:paid_at]), Counter(names[paid_at:])
        assert before["OrderCancelled"] <= 1
        assert after["OrderCancelled"] <= 1
        assert order.is_complete == (counts["OrderCompleted"] > after["OrderCancelled"])
        of_order = {each for each in self.refunded if each.startswith(str(order.pk))}
        if before["OrderCancelled"]:
            is_over = {order} <= self.expired & self.closed
            assert order in self.cancelled or is_over or of_order
        if after["OrderCancelled"]:
            assert order in self.given_back or order.payment_id in self.refunded
        for payment_id, ends in self._ends(order).items():
            gave_back = payment_id == order.payment_id and order in self.given_back
            assert ends <= 1 + gave_back, f"{payment_id} has {ends} ends"
        for payment_id in self.succeeded - self.refunded_first:
            if payment_id.startswith(str(order.pk)):
                assert payment_id in self._ends(order)

    def _ends(self, order: Order) -> Counter[str]:
        """Count how often each payment bought the ticket or was asked back."""
        events = OutboxEvent.objects.filter(
            aggregate_id=str(order.pk),
            record__in=["ticketing.orders.OrderCompleted", "ticketing.orders.OrderRefundRequested"],
        )
        return Counter(orjson.loads(bytes(each.payload))["payment_id"] for each in events)

    def _try(self, act) -> None:
        try:
            act()
        except Conflict as refusal:
            assert refusal.message in {  # noqa: PT017 (which of them is the point)
                "Ticket is already reserved",
                "A paid order cannot be cancelled",
            }


STEPS = st.lists(
    st.builds(
        Step,
        name=st.sampled_from(STEP_NAMES),
        buyer=st.integers(0, 2),
        attempt=st.integers(1, 2),
        version=st.integers(1, 6),
    ),
    min_size=3,
    max_size=14,
)


@settings(
    max_examples=150,
    deadline=None,
    # The database outlives an example, and may: each has a ticket of its own.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS)
def test_rules_hold_in_every_sequence_of_what_may_happen(steps, db):
    world = World(ticket_id=list_ticket().ticket_id)
    world.do(Step("reserve", 0, 1, 1))

    for step in steps:
        world.do(step)
        world.check()
