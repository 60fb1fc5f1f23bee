from __future__ import annotations

import dataclasses
import uuid

import orjson
import pytest
from confluent_kafka.admin import NewTopic
from django.core.management import CommandError, call_command

from apps.orders import handlers, services
from apps.orders.events import TicketCreated, TicketUpdated
from apps.orders.models import TicketCopy
from apps.outbox import kafka, rebuilding
from apps.outbox.codec import Codec
from apps.outbox.kafka import Sender
from apps.outbox.models import OperatorAction
from apps.outbox.registry import Registry, avro, subject_of
from apps.outbox.schemas import local_schemas

pytestmark = pytest.mark.django_db(transaction=True)


class Tickets:
    """A topic of tickets of the test's own, on the real Kafka, and the read model of it."""

    def __init__(self):
        self.topic = f"test.tickets-{uuid.uuid4().hex[:12]}"
        self.registry = Registry.from_settings()
        self.codec = Codec(self.registry)
        self.sender = Sender()
        self.admin = kafka.admin()
        self.admin.create_topics([NewTopic(self.topic, 2, 1)])[self.topic].result(30)
        self.created = type("TicketCreated", (TicketCreated,), {"topic": self.topic})
        self.updated = type("TicketUpdated", (TicketUpdated,), {"topic": self.topic})
        self.model = dataclasses.replace(handlers.TICKETS, events=(self.created, self.updated))
        for name in ("TicketCreated", "TicketUpdated"):
            schema = local_schemas()[f"ticketing.tickets.{name}"]
            self.registry.client.register_schema(subject_of(self.topic, schema.name), avro(schema))

    def send(self, ticket_id, version, *, is_received=True, **fields):
        """Put a ticket's event on the topic, and let orders receive it."""
        known = {"title": "Front row", "price_cents": 1250, "currency": "usd", "seller_id": "s"}
        cls = self.created if version == 1 else self.updated
        event = cls(ticket_id=ticket_id, version=version, **known | fields)
        payload = orjson.dumps(dataclasses.asdict(event))
        value = self.codec.encode(self.topic, f"ticketing.tickets.{cls.__name__}", payload)
        self.sender.send_one(self.topic, ticket_id.encode(), value, ())
        if is_received:
            services.record_ticket(ticket=event)
        return event

    def spoil(self, key):
        """Put a record on the topic that is no event."""
        self.sender.send_one(self.topic, key.encode(), b"\x00\x7f\xff\xff\xff", ())

    def compare(self, **options):
        return rebuilding.compare(self.model, self.codec, **options)

    def close(self):
        self.sender.close()
        self.codec.close()
        self.admin.delete_topics([self.topic])[self.topic].result(30)


@pytest.fixture
def tickets():
    tickets = Tickets()
    yield tickets
    tickets.close()


@pytest.fixture
def rebuild(tickets, capsys, monkeypatch):
    monkeypatch.setattr(handlers, "TICKETS", tickets.model)

    def run(*arguments):
        call_command("rebuild", "tickets", "--wait", "0", *arguments)
        return capsys.readouterr().out

    return run


def test_a_replica_is_what_its_events_say(tickets, rebuild):
    tickets.send("t-1", 1)
    tickets.send("t-1", 2, price_cents=900, order_id="o-1")
    tickets.send("t-2", 1, title="Back row")

    found = tickets.compare()

    assert found.differences == ()
    assert found.rebuilt_hash == found.live_hash
    assert "tickets is what its events say." in rebuild()


def test_a_changed_a_missing_and_a_foreign_row_are_found_and_mended(tickets, rebuild):
    for ticket_id in ("t-1", "t-2", "t-3"):
        tickets.send(ticket_id, 1)
    TicketCopy.objects.filter(pk="t-1").update(price_cents=1)
    TicketCopy.objects.filter(pk="t-2").delete()
    TicketCopy.objects.create(ticket_id="t-9", version=1, title="?", price_cents=1)

    with pytest.raises(CommandError, match=r"3 row\(s\) differ"):
        rebuild()
    said = rebuild("--apply", "--by", "anna")

    assert "t-1: price_cents is 1, not 1250" in said
    assert "t-2: missing" in said
    assert "t-9: no event speaks of it" in said
    assert "tickets is what its events say." in rebuild()
    assert sorted(OperatorAction.objects.values_list("by", "action", "target")) == [
        ("anna", "repair", "tickets/t-1"),
        ("anna", "repair", "tickets/t-2"),
        ("anna", "repair", "tickets/t-9"),
    ]


def test_an_event_that_comes_during_the_comparison_is_no_difference(tickets):
    tickets.send("t-1", 1)
    late = tickets.send("t-1", 2, is_received=False, price_cents=900)

    found = tickets.compare(rounds=3, pause=lambda: services.record_ticket(ticket=late))

    assert found.differences == ()


def test_a_repair_leaves_a_row_alone_that_has_become_newer(tickets):
    tickets.send("t-1", 1)
    TicketCopy.objects.filter(pk="t-1").update(price_cents=1)
    [difference] = tickets.compare().differences
    tickets.send("t-1", 2, price_cents=900)

    rebuilding.repair("tickets", tickets.model, difference, by="anna")

    copy = TicketCopy.objects.get(pk="t-1")
    assert (copy.version, copy.price_cents) == (2, 900)


def test_a_record_that_is_no_event_is_left_out_and_shown(tickets, rebuild):
    tickets.send("t-1", 1)
    tickets.spoil("nobody")

    said = rebuild()

    assert f"left out {tickets.topic}/" in said
    assert "tickets is what its events say." in said


def test_a_row_of_which_a_record_cannot_be_read_is_not_mended(tickets, rebuild):
    tickets.send("t-1", 1)
    TicketCopy.objects.create(ticket_id="t-2", version=1, title="?", price_cents=1)
    TicketCopy.objects.create(ticket_id="t-3", version=1, title="?", price_cents=1)
    tickets.spoil("t-2")

    with pytest.raises(CommandError, match=r"1 row\(s\) differ of which a record was left out"):
        rebuild("--apply")

    assert sorted(TicketCopy.objects.values_list("pk", flat=True)) == ["t-1", "t-2"]


def test_an_unknown_read_model_is_refused(rebuild):
    with pytest.raises(CommandError, match="READ_MODELS has: tickets"):
        call_command("rebuild", "chairs")
