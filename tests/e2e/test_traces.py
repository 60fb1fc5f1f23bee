"""One order through all services is one trace, whatever of it has waited."""

from __future__ import annotations

from tests.e2e.people import DECLINED_CARD
from tests.e2e.topics import Watcher

OF_THE_ORDER = (
    "ticketing.orders.order.created.v1",
    "ticketing.orders.order.awaiting_payment.v1",
    "ticketing.orders.order.completed.v1",
    "ticketing.payments.payment.started.v1",
    "ticketing.payments.payment.failed.v1",
    "ticketing.payments.payment.succeeded.v1",
)


def trace_of(record) -> str:
    return record.headers["traceparent"].split("-")[1]


def test_a_paid_order_is_one_trace_over_all_services(topics: Watcher, seller, buyer) -> None:
    ticket = seller.list_ticket()
    order = buyer.reserve(ticket["id"])
    buyer.pay(order["id"], DECLINED_CARD)
    buyer.pay(order["id"])
    buyer.wait_for_status(order["id"], "complete")

    records = [topics.wait_for(order["id"], kind) for kind in OF_THE_ORDER]
    held = topics.wait_for(ticket["id"], "ticketing.tickets.ticket.updated.v1")

    assert {trace_of(record) for record in [*records, held]} == {trace_of(records[0])}
    started, succeeded = records[3], records[5]
    assert started.headers["ce_correlationid"] != records[0].headers["ce_correlationid"]
    assert "ce_causationid" in succeeded.headers


def test_an_expired_order_is_one_trace_although_its_deadline_waited(
    topics: Watcher, seller, buyer
) -> None:
    order = buyer.reserve(seller.list_ticket()["id"])
    buyer.wait_for_end(order)

    reserved = topics.wait_for(order["id"], "ticketing.orders.order.created.v1")
    passed = topics.wait_for(order["id"], "ticketing.expiration.expiration.completed.v1")
    ended = topics.wait_for(order["id"], "ticketing.orders.order.cancelled.v1")

    assert passed.headers["ce_causationid"] == reserved.headers["ce_id"]
    assert {trace_of(passed), trace_of(ended)} == {trace_of(reserved)}
