"""The event of expiration, then those of orders that expiration reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class ExpirationCompleted:
    """The deadline of an order has passed."""

    topic: ClassVar[str] = "ticketing.expiration"
    namespace: ClassVar[str] = "ticketing.expiration"
    type: ClassVar[str] = "ticketing.expiration.expiration.completed.v1"
    aggregate_type: ClassVar[str] = "expiration"

    order_id: str
    version: int = 1
    """Always 1: a deadline passes once, and the outbox refuses a second event of this version."""
    expires_at: datetime
    fired_at: datetime

    @property
    def aggregate_id(self) -> str:
        return self.order_id


@dataclass(frozen=True, kw_only=True)
class OrderDeadline:
    """What expiration needs of an order's events: until when the order can be paid."""

    topic: ClassVar[str] = "ticketing.orders"
    namespace: ClassVar[str] = "ticketing.orders"
    aggregate_type: ClassVar[str] = "order"

    order_id: str
    version: int
    expires_at: datetime

    @property
    def aggregate_id(self) -> str:
        return self.order_id


@dataclass(frozen=True, kw_only=True)
class OrderCreated(OrderDeadline):
    """A buyer reserved a ticket."""

    type: ClassVar[str] = "ticketing.orders.order.created.v1"


@dataclass(frozen=True, kw_only=True)
class OrderCancelled(OrderDeadline):
    """The order ended unpaid."""

    type: ClassVar[str] = "ticketing.orders.order.cancelled.v1"


@dataclass(frozen=True, kw_only=True)
class OrderCompleted(OrderDeadline):
    """The order is paid."""

    type: ClassVar[str] = "ticketing.orders.order.completed.v1"
