"""The events of auth, then those of orders and payments that it writes mails about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class UserState:
    """The whole state of a user, as far as others may know it."""

    topic: ClassVar[str] = "ticketing.users"
    namespace: ClassVar[str] = "ticketing.auth"
    aggregate_type: ClassVar[str] = "user"

    user_id: str
    version: int
    email: str
    is_active: bool

    @property
    def aggregate_id(self) -> str:
        return self.user_id


@dataclass(frozen=True, kw_only=True)
class UserRegistered(UserState):
    """A person signed up."""

    type: ClassVar[str] = "ticketing.auth.user.registered.v1"

    registered_at: datetime


@dataclass(frozen=True, kw_only=True)
class UserUpdated(UserState):
    """A user's address or standing changed."""

    type: ClassVar[str] = "ticketing.auth.user.updated.v1"

    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class MailFact:
    """What became of a mail about an order; nothing in it says whose address it went to."""

    topic: ClassVar[str] = "ticketing.mails"
    namespace: ClassVar[str] = "ticketing.auth"
    aggregate_type: ClassVar[str] = "mail"

    mail_id: str
    version: int
    """How often it was tried: of one try comes at most one fact."""
    order_id: str
    kind: str
    attempts: int

    @property
    def aggregate_id(self) -> str:
        return self.mail_id


@dataclass(frozen=True, kw_only=True)
class MailSent(MailFact):
    """A mail server took it."""

    type: ClassVar[str] = "ticketing.auth.mail.sent.v1"


@dataclass(frozen=True, kw_only=True)
class MailGivenUp(MailFact):
    """It is not tried again until somebody says so."""

    type: ClassVar[str] = "ticketing.auth.mail.given_up.v1"

    why: str


@dataclass(frozen=True, kw_only=True)
class OrderFact:
    """What a mail says of an order, whose events all carry its whole state."""

    topic: ClassVar[str] = "ticketing.orders"
    namespace: ClassVar[str] = "ticketing.orders"
    aggregate_type: ClassVar[str] = "order"

    order_id: str
    version: int
    buyer_id: str
    ticket_id: str
    ticket_title: str
    price_cents: int
    currency: str
    expires_at: datetime

    @property
    def aggregate_id(self) -> str:
        return self.order_id


@dataclass(frozen=True, kw_only=True)
class OrderCreated(OrderFact):
    """A buyer reserved a ticket."""

    type: ClassVar[str] = "ticketing.orders.order.created.v1"


@dataclass(frozen=True, kw_only=True)
class OrderCompleted(OrderFact):
    """The order is paid and the ticket is the buyer's."""

    type: ClassVar[str] = "ticketing.orders.order.completed.v1"


@dataclass(frozen=True, kw_only=True)
class OrderCancelled(OrderFact):
    """The order ended, and its hold on the ticket with it."""

    type: ClassVar[str] = "ticketing.orders.order.cancelled.v1"

    reason: str
    payment_id: str = ""
    """The attempt that had paid; empty for an order that ended unpaid."""


@dataclass(frozen=True, kw_only=True)
class PaymentRefunded:
    """Money of an attempt to pay went back to the buyer: all of it, or a part."""

    topic: ClassVar[str] = "ticketing.payments"
    namespace: ClassVar[str] = "ticketing.payments"
    aggregate_type: ClassVar[str] = "payment"
    type: ClassVar[str] = "ticketing.payments.payment.refunded.v1"

    order_id: str
    version: int
    buyer_id: str
    amount_cents: int
    currency: str
    reason: str
    refunded_at: datetime
    refund_cents: int = 0
    """0 in events from before there were parts: the whole amount."""
    refunded_total_cents: int = 0

    @property
    def aggregate_id(self) -> str:
        return self.order_id
