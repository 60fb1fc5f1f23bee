"""Events of orders as they arrive: Avro in, holds out."""

from __future__ import annotations

import uuid
from typing import Any

import orjson
import pytest
from django.conf import settings

from apps.outbox.codec import Codec
from apps.outbox.dead_letters import Record
from apps.outbox.models import ReceivedEvent
from apps.outbox.receiver import Outcome, Receiver
from apps.outbox.records import Row, build_record
from apps.outbox.schemas import LocalSchema, local_schemas
from apps.tickets import selectors
from apps.tickets.handlers import HANDLERS
from apps.tickets.models import Ticket, TicketSold
from apps.tickets.selectors import TicketNotFound
from apps.tickets.tests.factories import NOON, list_ticket, new_id, published

pytestmark = pytest.mark.django_db(transaction=True)


class Registry:
    """Knows the checkout's schemas by number, as the real registry does after registration."""

    names = sorted(local_schemas())

    def schema_id(self, _topic: str, schema: LocalSchema) -> int:
        return self.names.index(schema.name) + 1

    def writer_schema(self, schema_id: int) -> dict[str, Any]:
        return local_schemas()[self.names[schema_id - 1]].parsed


codec = Codec(Registry())
receiver = Receiver(settings.CONSUMER_GROUP, HANDLERS, codec)

EXTRA = {
    "OrderCompleted": {"payment_id": "payment-1"},
    "OrderCancelled": {"reason": "expired"},
}


def message(event: str, ticket_id: str, order_id: str, version: int, **more: str) -> Record:
    """Write what orders writes, from its schema and with its headers."""
    state = (
        {
            "order_id": order_id,
            "version": version,
            "status": "created",
            "buyer_id": new_id(),
            "ticket_id": ticket_id,
            "ticket_title": "Velvet Harbour",
            "ticket_version": 1,
            "seller_id": new_id(),
            "price_cents": 1250,
            "currency": "usd",
            "expires_at": 1_800_000_000_000,
        }
        | EXTRA.get(event, {})
        | more
    )
    row = Row(
        event_id=uuid.uuid4(),
        topic="ticketing.orders",
        key=order_id,
        version=version,
        type=f"ticketing.orders.order.{event.removeprefix('Order').lower()}.v1",
        record=f"ticketing.orders.{event}",
        payload=orjson.dumps(state),
        headers="{}",
        occurred_at=NOON,
        aggregate_id=order_id,
    )
    return build_record(row, codec)


def stored(ticket: Ticket) -> Ticket:
    return selectors.get_ticket(str(ticket.pk))


def test_order_takes_the_ticket_and_its_end_gives_it_back():
    ticket = list_ticket()
    order_id, ticket_id = str(uuid.uuid4()), str(ticket.pk)

    assert receiver.receive(message("OrderCreated", ticket_id, order_id, 1)) is Outcome.PROCESSED
    assert (stored(ticket).order_id, stored(ticket).version) == (order_id, 2)

    receiver.receive(message("OrderCancelled", ticket_id, order_id, 2))
    assert stored(ticket).is_free

    receiver.receive(message("OrderCompleted", ticket_id, order_id, 3))
    assert stored(ticket).is_sold
    assert [event.version for event in published(ticket)] == [1, 2, 3, 4]


def test_event_delivered_twice_takes_effect_once():
    ticket = list_ticket()
    record = message("OrderCreated", str(ticket.pk), str(uuid.uuid4()), 1)

    assert receiver.receive(record) is Outcome.PROCESSED
    assert receiver.receive(record) is Outcome.DUPLICATE

    assert stored(ticket).version == 2


def test_cancel_repeated_as_a_new_event_frees_nobody_elses_hold():
    ticket = list_ticket()
    ticket_id, first, second = str(ticket.pk), str(uuid.uuid4()), str(uuid.uuid4())
    for event, order_id, version in (
        ("OrderCreated", first, 1),
        ("OrderCancelled", first, 2),
        ("OrderCreated", second, 1),
    ):
        receiver.receive(message(event, ticket_id, order_id, version))

    again = message("OrderCancelled", ticket_id, first, 3)

    assert receiver.receive(again) is Outcome.PROCESSED
    assert (stored(ticket).order_id, stored(ticket).version) == (second, 4)


def test_order_for_a_ticket_that_never_was_is_not_taken_as_received():
    record = message("OrderCreated", new_id(), str(uuid.uuid4()), 1)

    with pytest.raises(TicketNotFound):
        receiver.receive(record)

    assert not ReceivedEvent.objects.exists()


def test_second_sale_is_refused_and_can_be_looked_into():
    ticket = list_ticket()
    receiver.receive(message("OrderCompleted", str(ticket.pk), str(uuid.uuid4()), 3))

    with pytest.raises(TicketSold):
        receiver.receive(message("OrderCompleted", str(ticket.pk), str(uuid.uuid4()), 3))


def test_event_of_orders_that_moves_no_hold_is_skipped():
    ticket = list_ticket()
    record = message("OrderAwaitingPayment", str(ticket.pk), str(uuid.uuid4()), 2)

    assert receiver.receive(record) is Outcome.SKIPPED


def test_every_event_of_a_ticket_carries_its_id_and_version_in_headers():
    ticket = list_ticket()
    receiver.receive(message("OrderCreated", str(ticket.pk), str(uuid.uuid4()), 1))

    for row in published(ticket):
        fields = {name: getattr(row, name) for name in Row._fields if hasattr(row, name)}
        headers = dict(build_record(Row(event_id=row.id, **fields), codec).headers)
        assert headers["ce_id"] == str(row.id).encode()
        assert headers["ce_sequence"] == str(row.version).encode()
        assert headers["ce_source"] == b"/ticketing/tickets"
        assert headers["ce_subject"] == str(ticket.pk).encode()


def test_event_that_an_order_caused_names_the_orders_event_as_its_cause():
    ticket = list_ticket()
    record = message("OrderCreated", str(ticket.pk), str(uuid.uuid4()), 1)

    receiver.receive(record)

    headers = orjson.loads(published(ticket)[-1].headers)
    assert headers["ce_causationid"] == record.header("ce_id")


def test_paid_order_that_ends_gives_the_ticket_to_the_next_buyer():
    ticket = list_ticket()
    ticket_id = str(ticket.pk)
    first, second = str(uuid.uuid4()), str(uuid.uuid4())

    for event, order_id, version, more in (
        ("OrderCreated", first, 1, {}),
        ("OrderCompleted", first, 2, {}),
        ("OrderCreated", second, 1, {}),
        ("OrderCancelled", first, 3, {"payment_id": "p1"}),
        ("OrderCancelled", first, 3, {"payment_id": "p1"}),
    ):
        receiver.receive(message(event, ticket_id, order_id, version, **more))

    assert (stored(ticket).status, stored(ticket).order_id) == (Ticket.Status.RESERVED, second)
