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
    type: ClassVar[str]

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
    """The order ended, and its hold on the ticket with it."""

    type: ClassVar[str] = "ticketing.orders.order.cancelled.v1"

    reason: str
    payment_id: str = ""


@dataclass(frozen=True, kw_only=True)
class OrderRefundRequested(OrderState):
    """Money of an order that has no ticket for it, or no longer, must go back."""

    type: ClassVar[str] = "ticketing.orders.order.refund_requested.v1"

    payment_id: str
    reason: str
    refund_id: str = ""
    requested_by: str = ""


@dataclass(frozen=True, kw_only=True)
class TicketState:
    """What orders keeps of a ticket: every event of a ticket carries its whole state."""

    topic: ClassVar[str] = "ticketing.tickets"
    namespace: ClassVar[str] = "ticketing.tickets"
    aggregate_type: ClassVar[str] = "ticket"

    ticket_id: str
    version: int
    title: str
    price_cents: int
    currency: str
    seller_id: str
    order_id: str | None = None
    is_withdrawn: bool = False

    @property
    def aggregate_id(self) -> str:
        return self.ticket_id


@dataclass(frozen=True, kw_only=True)
class TicketCreated(TicketState):
    """A seller listed a ticket."""

    type: ClassVar[str] = "ticketing.tickets.ticket.created.v1"


@dataclass(frozen=True, kw_only=True)
class TicketUpdated(TicketState):
    """A ticket was edited, withdrawn, reserved, released or sold."""

    type: ClassVar[str] = "ticketing.tickets.ticket.updated.v1"


@dataclass(frozen=True, kw_only=True)
class ExpirationCompleted:
    """The deadline of an order has passed."""

    topic: ClassVar[str] = "ticketing.expiration"
    namespace: ClassVar[str] = "ticketing.expiration"
    type: ClassVar[str] = "ticketing.expiration.expiration.completed.v1"
    aggregate_type: ClassVar[str] = "expiration"

    order_id: str
    version: int

    @property
    def aggregate_id(self) -> str:
        return self.order_id


@dataclass(frozen=True, kw_only=True)
class PaymentState:
    """An order's payment: one growing version for all attempts of the order."""

    topic: ClassVar[str] = "ticketing.payments"
    namespace: ClassVar[str] = "ticketing.payments"
    aggregate_type: ClassVar[str] = "payment"

    order_id: str
    version: int

    @property
    def aggregate_id(self) -> str:
        return self.order_id


@dataclass(frozen=True, kw_only=True)
class PaymentStarted(PaymentState):
    """An attempt to pay began; its outcome is not known yet."""

    type: ClassVar[str] = "ticketing.payments.payment.started.v1"

    payment_id: str
    attempt: int = 0
    provider_reference: str | None = None


@dataclass(frozen=True, kw_only=True)
class PaymentSucceeded(PaymentState):
    """The provider took the money."""

    type: ClassVar[str] = "ticketing.payments.payment.succeeded.v1"

    payment_id: str
    amount_cents: int
    currency: str
    attempt: int = 0
    provider_reference: str | None = None
    tries: int = 0


@dataclass(frozen=True, kw_only=True)
class PaymentActionRequired(PaymentState):
    """The bank wants the buyer to confirm the attempt (3-D Secure)."""

    type: ClassVar[str] = "ticketing.payments.payment.action_required.v1"

    payment_id: str
    attempt: int


@dataclass(frozen=True, kw_only=True)
class PaymentUnsure(PaymentState):
    """The provider's answer did not come: neither success nor failure, until it is asked."""

    type: ClassVar[str] = "ticketing.payments.payment.unsure.v1"

    payment_id: str
    attempt: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class PaymentNotified(PaymentState):
    """The provider told something by a webhook."""

    type: ClassVar[str] = "ticketing.payments.payment.notified.v1"

    payment_id: str
    attempt: int
    webhook_id: str
    webhook_type: str
    webhook_created_at: datetime
    received_at: datetime


@dataclass(frozen=True, kw_only=True)
class PaymentDisputed(PaymentState):
    """The buyer's bank disputes a payment, or has decided on it."""

    type: ClassVar[str] = "ticketing.payments.payment.disputed.v1"

    payment_id: str
    amount_cents: int
    currency: str
    dispute_id: str
    dispute_status: str
    dispute_cents: int
    reason: str
    returned_total_cents: int = 0


@dataclass(frozen=True, kw_only=True)
class PaymentFailed(PaymentState):
    """The attempt ended without money: declined, or given up."""

    type: ClassVar[str] = "ticketing.payments.payment.failed.v1"

    payment_id: str
    failure_message: str
    attempt: int = 0
    failure_code: str = ""
    provider_reference: str | None = None
    tries: int = 0


@dataclass(frozen=True, kw_only=True)
class PaymentClosed(PaymentState):
    """No payment of this order can succeed any more: nothing was paid, no attempt is open."""

    type: ClassVar[str] = "ticketing.payments.payment.closed.v1"


@dataclass(frozen=True, kw_only=True)
class PaymentRefunded(PaymentState):
    """Money of an attempt went back: all of it, or a part.

    The defaults are those of events from before refunds had an id, which gave back everything.
    """

    type: ClassVar[str] = "ticketing.payments.payment.refunded.v1"

    payment_id: str
    amount_cents: int
    currency: str
    reason: str
    refunded_at: datetime
    refund_id: str = ""
    refund_cents: int = 0
    refunded_total_cents: int = 0
    requested_by: str = ""
    returned_total_cents: int = 0


@dataclass(frozen=True, kw_only=True)
class PaymentRefundRequested(PaymentState):
    """Money of an attempt is to go back."""

    type: ClassVar[str] = "ticketing.payments.payment.refund_requested.v1"

    payment_id: str
    currency: str
    refund_id: str
    refund_cents: int
    reason: str
    requested_by: str
    requested_at: datetime


@dataclass(frozen=True, kw_only=True)
class MailFact:
    """What became of a mail about an order."""

    topic: ClassVar[str] = "ticketing.mails"
    namespace: ClassVar[str] = "ticketing.auth"
    aggregate_type: ClassVar[str] = "mail"

    mail_id: str
    version: int
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
class PaymentRefundFailed(PaymentState):
    """A refund came to nothing, maybe after it was told as done."""

    type: ClassVar[str] = "ticketing.payments.payment.refund_failed.v1"

    payment_id: str
    refund_id: str
    failed_at: datetime
    currency: str = ""
    refund_cents: int = 0
    reason: str = ""
    requested_by: str = ""
