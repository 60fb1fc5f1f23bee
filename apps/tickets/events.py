"""The events of tickets, then those of orders that tickets reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class TicketState:
    """The whole state of a ticket, which every one of its events carries."""

    topic: ClassVar[str] = "ticketing.tickets"
    namespace: ClassVar[str] = "ticketing.tickets"
    aggregate_type: ClassVar[str] = "ticket"

    ticket_id: str
    version: int
    title: str
    price_cents: int
    currency: str
    seller_id: str
    order_id: str | None
    is_withdrawn: bool

    @property
    def aggregate_id(self) -> str:
        return self.ticket_id


@dataclass(frozen=True, kw_only=True)
class TicketCreated(TicketState):
    """A seller listed a ticket."""

    type: ClassVar[str] = "ticketing.tickets.ticket.created.v1"


@dataclass(frozen=True, kw_only=True)
class TicketUpdated(TicketState):
    """A ticket was edited, withdrawn, listed again, reserved, released or sold."""

    type: ClassVar[str] = "ticketing.tickets.ticket.updated.v1"


@dataclass(frozen=True, kw_only=True)
class OrderClaim:
    """What tickets needs of an order's event: which order, and which ticket it is about."""

    topic: ClassVar[str] = "ticketing.orders"
    namespace: ClassVar[str] = "ticketing.orders"
    aggregate_type: ClassVar[str] = "order"

    order_id: str
    version: int
    ticket_id: str

    @property
    def aggregate_id(self) -> str:
        return self.order_id


@dataclass(frozen=True, kw_only=True)
class OrderCreated(OrderClaim):
    """A buyer reserved a ticket."""

    type: ClassVar[str] = "ticketing.orders.order.created.v1"


@dataclass(frozen=True, kw_only=True)
class OrderCompleted(OrderClaim):
    """The order is paid and the ticket is the buyer's."""

    type: ClassVar[str] = "ticketing.orders.order.completed.v1"


@dataclass(frozen=True, kw_only=True)
class OrderCancelled(OrderClaim):
    """The order ended, and its hold on the ticket with it."""

    type: ClassVar[str] = "ticketing.orders.order.cancelled.v1"

    payment_id: str = ""
    """What had paid the order, which then never comes back to life."""
