"""The events of each step, as any Confluent-compatible Avro consumer sees them."""

from __future__ import annotations

import uuid
from datetime import datetime
from itertools import pairwise

from tests.e2e.people import DECLINED_CARD, Person
from tests.e2e.topics import Seen, Watcher


def assert_cloud_event(record: Seen, source: str, subject: str) -> None:
    headers = record.headers
    assert headers["ce_specversion"] == "1.0"
    assert uuid.UUID(headers["ce_id"]).version == 7
    assert headers["ce_source"] == f"/ticketing/{source}"
    assert headers["ce_subject"] == record.key == subject
    assert headers["ce_sequence"] == str(record.fields["version"])
    assert headers["content-type"] == "application/avro"
    assert datetime.fromisoformat(headers["ce_time"]).tzinfo is not None


def trace_id(record: Seen) -> str:
    return record.headers["traceparent"].split("-")[1]


def test_each_step_of_a_purchase_is_an_event_on_its_topic(topics: Watcher, sign_up) -> None:
    seller, buyer = sign_up(), sign_up()
    ticket = seller.list_ticket(price=12.5)
    order = buyer.reserve(ticket["id"])
    buyer.pay(order["id"], DECLINED_CARD)
    buyer.pay(order["id"])
    buyer.wait_for_status(order["id"], "complete")

    registered = topics.wait_for(buyer.id, "ticketing.auth.user.registered.v1")
    listed = topics.wait_for(ticket["id"], "ticketing.tickets.ticket.created.v1")
    reserved = topics.wait_for(order["id"], "ticketing.orders.order.created.v1")
    held = topics.wait_for(ticket["id"], "ticketing.tickets.ticket.updated.v1")
    declined = topics.wait_for(order["id"], "ticketing.payments.payment.failed.v1")
    paid = topics.wait_for(order["id"], "ticketing.payments.payment.succeeded.v1")
    completed = topics.wait_for(order["id"], "ticketing.orders.order.completed.v1")

    for record, source, subject in (
        (registered, "auth", buyer.id),
        (listed, "tickets", ticket["id"]),
        (reserved, "orders", order["id"]),
        (held, "tickets", ticket["id"]),
        (declined, "payments", order["id"]),
        (paid, "payments", order["id"]),
        (completed, "orders", order["id"]),
    ):
        assert_cloud_event(record, source, subject)
    assert registered.fields["email"] == buyer.email
    assert (listed.fields["price_cents"], listed.fields["currency"]) == (1250, "usd")
    assert (reserved.fields["buyer_id"], reserved.fields["price_cents"]) == (buyer.id, 1250)
    assert held.fields["order_id"] == order["id"]
    assert paid.fields["amount_cents"] == 1250
    assert completed.fields["payment_id"] == paid.fields["payment_id"]
    assert paid.fields["payment_id"] != declined.fields["payment_id"]


def test_events_of_one_order_lie_on_their_topic_in_the_order_of_their_versions(
    topics: Watcher, seller: Person, buyer: Person
) -> None:
    order = buyer.reserve(seller.list_ticket()["id"])
    buyer.pay(order["id"])
    topics.wait_for(order["id"], "ticketing.orders.order.completed.v1")
    topics.wait_for(order["id"], "ticketing.payments.payment.succeeded.v1")

    for topic in ("ticketing.orders", "ticketing.payments"):
        versions = [
            record.fields["version"]
            for record in topics.seen
            if (record.topic, record.key) == (topic, order["id"])
        ]
        assert versions[0] == 1
        assert all(after == before + 1 for before, after in pairwise(versions))


def test_events_of_one_request_share_its_correlation_and_name_their_cause(
    topics: Watcher, seller: Person, buyer: Person
) -> None:
    """Defect 1: order events came without the header that their readers needed."""
    ticket = seller.list_ticket()
    order = buyer.reserve(ticket["id"])

    reserved = topics.wait_for(order["id"], "ticketing.orders.order.created.v1")
    held = topics.wait_for(ticket["id"], "ticketing.tickets.ticket.updated.v1")

    assert held.headers["ce_causationid"] == reserved.headers["ce_id"]
    assert held.headers["ce_correlationid"] == reserved.headers["ce_correlationid"]
    assert trace_id(held) == trace_id(reserved)


def test_cancelled_order_and_freed_ticket_are_events(
    topics: Watcher, seller: Person, buyer: Person
) -> None:
    ticket = seller.list_ticket()
    order = buyer.reserve(ticket["id"])
    buyer.wait_until_held(ticket["id"], order["id"])
    buyer.cancel(order["id"])
    buyer.wait_until_free(ticket["id"])

    cancelled = topics.wait_for(order["id"], "ticketing.orders.order.cancelled.v1")
    topics.wait_for(order["id"], "ticketing.payments.payment.closed.v1")
    freed = buyer.see_ticket(ticket["id"])

    assert cancelled.fields["status"] == "cancelled"
    assert freed["version"] == 3
