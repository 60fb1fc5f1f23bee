from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import uuid6

from apps.orders.models import Order, TicketCopy

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
WINDOW = timedelta(minutes=15)


def new_id() -> str:
    return str(uuid6.uuid7())


def make_order(**overrides: Any) -> Order:
    """Return an order that is not saved."""
    facts: dict[str, Any] = {
        "buyer_id": "buyer",
        "ticket_id": new_id(),
        "ticket_title": "Front row",
        "ticket_version": 1,
        "seller_id": "seller",
        "price_cents": 1250,
        "currency": "usd",
        "created_at": NOON,
        "expires_at": NOON + WINDOW,
    }
    return Order(**facts | overrides)


def list_ticket(**overrides: Any) -> TicketCopy:
    """Save and return the copy of a free ticket."""
    facts: dict[str, Any] = {
        "ticket_id": new_id(),
        "version": 1,
        "title": "Front row",
        "price_cents": 1250,
        "currency": "usd",
        "seller_id": "seller",
    }
    return TicketCopy.objects.create(**facts | overrides)
