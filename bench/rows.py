"""The events of a run: orders of about 300 bytes as JSON, the same for whoever sends them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
import uuid6

from apps.outbox.slots import slot_of

RECORD = "ticketing.orders.OrderCreated"
TYPE = "ticketing.orders.order.created.v1"
HEADERS = orjson.dumps({"ce_correlationid": "0197a0c6-5b7e-7d5c-9a3e-6b1f0c9f2b11"}).decode()
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
COLUMNS = (
    *("_id", "topic", "key", "slot", "aggregate_type", "aggregate_id", "version", "type"),
    *("record", "payload", "headers", "occurred_at", "state", "attempts", "due_at"),
    *("last_error", "published_at"),
)
Row = tuple[Any, ...]
"""The values of COLUMNS."""


@dataclass(frozen=True)
class Load:
    """Events to be sent: `events` of them, for `keys` keys in turn, each key's versions from 1 on.

    The keys are this load's own, so that whatever else is on a topic can be told from it.
    """

    events: int
    keys: int
    topic: str
    run: uuid.UUID = field(default_factory=uuid.uuid4)

    def expected(self) -> dict[bytes, int]:
        """Return each key with its last version."""
        names = self.names()
        whole, rest = divmod(self.events, len(names))
        return {name.encode(): whole + (i < rest) for i, name in enumerate(names)}

    def names(self) -> list[str]:
        return [str(uuid.uuid5(self.run, str(i))) for i in range(min(self.keys, self.events))]

    def rows(self, state: str = "pending") -> Iterator[Row]:
        """Return the rows as the outbox keeps them, in the order in which they were committed."""
        names = [(name, slot_of(name)) for name in self.names()]
        published_at = NOW if state == "published" else None
        for i in range(self.events):
            name, slot = names[i % len(names)]
            version = i // len(names) + 1
            yield (
                uuid6.uuid7(),
                self.topic,
                name,
                slot,
                "order",
                name,
                version,
                TYPE,
                RECORD,
                orjson.dumps(payload(name, version)),
                HEADERS,
                NOW,
                state,
                0,
                NOW,
                "",
                published_at,
            )


def payload(order_id: str, version: int) -> dict[str, Any]:
    return {
        "order_id": order_id,
        "version": version,
        "status": "created",
        "buyer_id": "66f1b5c90c564a1e9d0e2f6f",
        "ticket_id": "9b2f7a44-3f0b-4a53-8d3c-0d7c1f1f6a22",
        "ticket_title": "Row C, seat 12",
        "ticket_version": 3,
        "seller_id": "66c0a8f76a1b4b93b1a57e9a",
        "price_cents": 4500,
        "currency": "usd",
        "expires_at": 1_772_367_300_000,
    }
