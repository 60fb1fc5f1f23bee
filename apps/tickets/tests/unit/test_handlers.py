from __future__ import annotations

from apps.outbox.events import record_name
from apps.tickets.events import OrderCancelled, OrderCompleted, OrderCreated, TicketUpdated
from apps.tickets.handlers import HANDLERS


def test_every_order_event_that_moves_a_hold_has_a_handler():
    assert HANDLERS.keys() == {OrderCreated, OrderCompleted, OrderCancelled}


def test_events_name_the_records_of_their_schemas():
    assert record_name(TicketUpdated) == "ticketing.tickets.TicketUpdated"
    assert [record_name(event) for event in HANDLERS] == [
        "ticketing.orders.OrderCreated",
        "ticketing.orders.OrderCompleted",
        "ticketing.orders.OrderCancelled",
    ]


def test_events_of_orders_are_keyed_by_the_order():
    assert OrderCreated(order_id="o", version=1, ticket_id="t").aggregate_id == "o"
