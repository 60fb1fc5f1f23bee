"""The events of orders, then those of others that orders reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class OrderState:
    """The whole state of an order, which every one of its events carries."""

    topic: ClassVar[str] = "ticketing.orders"
    namespace: ClassVar[str] = "ticketing.orders"
    aggregate_type: ClassVar[str] = "order"

    order_id: str
    version: int
    status: str
    buyer_id: str
    ticket_id: str
    ticket_title: str
    ticket_version: int
    seller_id: str
    price_cents: int
    currency: str
    expires_at: datetime

    @property
    def aggregate_id(self) -> str:
        return self.order_id


@dataclass(frozen=True, kw_only=True)
class OrderCreated(OrderState):
    """A buyer reserved a ticket."""

    type: ClassVar[str] = "ticketing.orders.order.created.v1"


@dataclass(frozen=True, kw_only=True)
class OrderAwaitingPayment(OrderState):
    """A payment of the order was started."""

    type: ClassVar[str] = "ticketing.orders.order.awaiting_payment.v1"


@dataclass(frozen=True, kw_only=True)
class OrderExpired(OrderState):
    """The time to pay ran out; the hold stays until payments says that nothing can be paid."""

    type: ClassVar[str] = "ticketing.orders.order.expired.v1"


@dataclass(frozen=True, kw_only=True)
class OrderCompleted(OrderState):
    """The order is paid and the ticket is the buyer's."""

    type: ClassVar[str] = "ticketing.orders.order.completed.v1"

    payment_id: str


@dataclass(frozen=True, kw_only=True)
class OrderCancelled(OrderState):
    """The order ended unpaid, and its hold on the ticket with it."""

    type: ClassVar[str] = "ticketing.orders.order.cancelled.v1"

    reason: str


@dataclass(frozen=True, kw_only=True)
class OrderRefundRequested(OrderState):
    """Money arrived for an order that cannot have its ticket any more, and must go back."""

    type: ClassVar[str] = "ticketing.orders.order.refund_requested.v1"

    payment_id: str
    reason: str
