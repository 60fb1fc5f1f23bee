"""What tests do to a payment, and what they ask of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import uuid6
from django.conf import settings
from django.utils import timezone
from django.utils.module_loading import import_string

from apps.outbox.inbox import Message, process_once
from apps.outbox.models import OutboxEvent
from apps.payments import selectors, services
from apps.payments.events import OrderCreated
from apps.payments.management.settler import Settler
from apps.payments.models import Payment, PaymentAttempt
from apps.payments.tests.factories import BUYER, NOW, order_cancelled, order_created, order_expired

TOLD = frozenset({"action_required", "unsure", "notified"})
MUCH_LATER = NOW + timedelta(hours=1)


def pay(order: Any, gateway: Any, method: str = "tok_visa", **more: Any) -> PaymentAttempt:
    fields = {"order_id": order.order_id, "buyer_id": BUYER, "clock": lambda: NOW} | more
    return services.pay_order(method=method, gateway=gateway, **fields)


def facts_of(order: Any) -> list[str]:
    """The names of the order's published facts, without those that only its timeline shows."""
    return [name for name in all_facts_of(order) if name not in TOLD]


def all_facts_of(order: Any) -> list[str]:
    """The names of the order's published facts, whose versions have no gaps."""
    events = OutboxEvent.objects.filter(aggregate_id=order.order_id).order_by("version")
    assert [event.version for event in events] == list(range(1, len(events) + 1))
    return [event.type.split(".")[-2] for event in events]


def settle(gateway: Any, now: Any = MUCH_LATER) -> bool:
    return Settler(gateway, clock=lambda: now).run_once()


def last(order: Any) -> PaymentAttempt:
    return selectors.find_last_attempt(order_id=order.order_id)


def close(order: Any, reason: Payment.Reason = Payment.Reason.EXPIRED) -> None:
    event = order_expired(order) if reason == Payment.Reason.EXPIRED else order_cancelled(order)
    services.close_payment(order=event, reason=reason, now=NOW)


def receive(event: Any, event_id: str = "") -> bool:
    handlers = import_string(settings.EVENT_HANDLERS)
    message = Message(
        group=settings.CONSUMER_GROUP,
        event_id=event_id or str(uuid6.uuid7()),
        topic=event.topic,
        partition=0,
        offset=0,
        key=event.aggregate_id,
        event=event,
    )
    return process_once(message, handlers[type(event)])


def order_now(**changes: Any) -> OrderCreated:
    return order_created(expires_at=timezone.now() + timedelta(minutes=15), **changes)
