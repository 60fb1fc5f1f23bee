"""What happens to orders, told as the other services tell it: one event after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import orjson
from django.db import connection

from apps.orders import services
from apps.orders.events import (
    ExpirationCompleted,
    PaymentClosed,
    PaymentDisputed,
    PaymentFailed,
    PaymentRefunded,
    PaymentRefundFailed,
    PaymentRefundRequested,
    PaymentStarted,
    PaymentSucceeded,
)
from apps.orders.handlers import HANDLERS
from apps.orders.models import Order
from apps.orders.tests.factories import NOON, list_ticket, new_id
from apps.outbox.inbox import Message, process_once
from apps.outbox.models import OutboxEvent


def deliver(event: Any, *, event_id: str | None = None, **headers: str) -> bool:
    """Hand the event over as the consumer does; False is a duplicate by its id."""
    message = Message(
        group="ticketing.orders",
        event_id=event_id or new_id(),
        topic=event.topic,
        partition=0,
        offset=0,
        key=event.aggregate_id,
        event=event,
        raw_headers=tuple((name, value.encode()) for name, value in headers.items()),
    )
    return process_once(message, HANDLERS[type(event)])


def reserve(ticket_id: str | None = None, buyer_id: str = "buyer") -> Order:
    ticket_id = ticket_id or list_ticket().ticket_id
    return services.create_order(ticket_id=ticket_id, buyer_id=buyer_id, now=NOON)


def cancel(order: Order) -> Order:
    return services.cancel_order(order_id=str(order.pk), buyer_id=order.buyer_id, now=NOON)


def started(order: Order, payment_id: str = "p1", version: int = 1) -> PaymentStarted:
    return PaymentStarted(order_id=str(order.pk), version=version, payment_id=payment_id)


def succeeded(
    order: Order, payment_id: str = "p1", version: int = 2, **overrides: Any
) -> PaymentSucceeded:
    facts = {"amount_cents": order.price_cents, "currency": order.currency} | overrides
    return PaymentSucceeded(order_id=str(order.pk), version=version, payment_id=payment_id, **facts)


def failed(order: Order, payment_id: str = "p1", version: int = 2) -> PaymentFailed:
    return PaymentFailed(
        order_id=str(order.pk),
        version=version,
        payment_id=payment_id,
        failure_message="Your card was declined.",
    )


def closed(order: Order, version: int = 3) -> PaymentClosed:
    return PaymentClosed(order_id=str(order.pk), version=version)


def refunded(order: Order, payment_id: str = "p1", version: int = 4) -> PaymentRefunded:
    return PaymentRefunded(
        order_id=str(order.pk),
        version=version,
        payment_id=payment_id,
        amount_cents=order.price_cents,
        currency=order.currency,
        reason="The ticket was gone.",
        refunded_at=NOON,
    )


def refund_of(order: Order, cents: int, total: int, **overrides: Any) -> PaymentRefunded:
    """A refund in the form that has an id."""
    facts = {"payment_id": "p1", "version": 4, "amount_cents": order.price_cents} | overrides
    return PaymentRefunded(
        order_id=str(order.pk),
        currency=order.currency,
        reason=facts.pop("reason", "The first act was cut."),
        refunded_at=NOON,
        refund_id=facts.pop("refund_id", "") or new_id(),
        refund_cents=cents,
        refunded_total_cents=total,
        requested_by=facts.pop("requested_by", "staff:ada@example.com"),
        **facts,
    )


def disputed(
    order: Order, status: str = "needs_response", version: int = 5, **overrides: Any
) -> PaymentDisputed:
    facts = {"payment_id": "p1", "returned_total_cents": 0} | overrides
    return PaymentDisputed(
        order_id=str(order.pk),
        version=version,
        amount_cents=order.price_cents,
        currency=order.currency,
        dispute_id="dp_1",
        dispute_status=status,
        dispute_cents=order.price_cents,
        reason="fraudulent",
        **facts,
    )


def refunded_in_part(order: Order, payment_id: str = "p1", version: int = 4) -> PaymentRefunded:
    return refund_of(order, 100, 100, payment_id=payment_id, version=version)


def refund_requested(order: Order, cents: int, **overrides: Any) -> PaymentRefundRequested:
    facts = {
        "refund_id": new_id(),
        "requested_by": "staff:ada@example.com",
        "reason": "The first act was cut.",
        "payment_id": "p1",
    }
    return PaymentRefundRequested(
        order_id=str(order.pk),
        version=3,
        currency=order.currency,
        refund_cents=cents,
        requested_at=NOON,
        **(facts | overrides),
    )


def refund_failed(order: Order, refund_id: str) -> PaymentRefundFailed:
    return PaymentRefundFailed(
        order_id=str(order.pk), version=5, payment_id="p1", refund_id=refund_id, failed_at=NOON
    )


def expired(order: Order) -> ExpirationCompleted:
    return ExpirationCompleted(order_id=str(order.pk), version=1)


def let_expire(order: Order) -> Order:
    """Let the time run out and the payments close, unpaid."""
    deliver(expired(order))
    deliver(closed(order))
    return reload(order)


def reload(order: Order) -> Order:
    return Order.objects.get(pk=order.pk)


def published(order: Order) -> list[str]:
    """Return the names of the order's events, in the order of their versions."""
    events = OutboxEvent.objects.filter(aggregate_id=str(order.pk)).order_by("version")
    names = [event.record.rpartition(".")[2] for event in events]
    assert [event.version for event in events] == list(range(1, len(names) + 1))
    return names


def payload(order: Order, name: str) -> dict[str, Any]:
    """Return the last event of that name as its readers get it."""
    events = OutboxEvent.objects.filter(
        aggregate_id=str(order.pk), record=f"ticketing.orders.{name}"
    )
    facts: dict[str, Any] = orjson.loads(bytes(events.latest("version").payload))
    return facts


def run_together(*calls: Callable[[], Any]) -> list[Any]:
    """Run the calls at the same moment, each on a connection of its own.

    Returns what each returned, or the exception that it raised.
    """
    outcomes: list[Any] = [None] * len(calls)
    gate = threading.Barrier(len(calls))

    def run(place: int, call: Callable[[], Any]) -> None:
        try:
            connection.ensure_connection()
            gate.wait(timeout=30)
            outcomes[place] = call()
        except Exception as exc:  # noqa: BLE001 (an outcome like any other)
            outcomes[place] = exc
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=each) for each in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return outcomes
