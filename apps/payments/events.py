"""The events of payments, then those of orders that payments reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class PaymentFact:
    """A fact about the payment of one order; the order's id is the aggregate's."""

    topic: ClassVar[str] = "ticketing.payments"
    namespace: ClassVar[str] = "ticketing.payments"
    aggregate_type: ClassVar[str] = "payment"
    type: ClassVar[str]

    order_id: str
    version: int

    @property
    def aggregate_id(self) -> str:
        return self.order_id


@dataclass(frozen=True, kw_only=True)
class AttemptFact(PaymentFact):
    """A fact about one attempt to pay, with all that there is to know of it."""

    payment_id: str
    attempt: int
    buyer_id: str
    amount_cents: int
    currency: str
    provider_reference: str | None


@dataclass(frozen=True, kw_only=True)
class PaymentStarted(AttemptFact):
    """An attempt to pay began; its outcome is not known yet."""

    type: ClassVar[str] = "ticketing.payments.payment.started.v1"


@dataclass(frozen=True, kw_only=True)
class PaymentSucceeded(AttemptFact):
    """The provider took the money."""

    type: ClassVar[str] = "ticketing.payments.payment.succeeded.v1"

    tries: int = 0


@dataclass(frozen=True, kw_only=True)
class PaymentFailed(AttemptFact):
    """The attempt ended without money: declined, or given up."""

    type: ClassVar[str] = "ticketing.payments.payment.failed.v1"

    failure_code: str
    failure_message: str
    tries: int = 0


@dataclass(frozen=True, kw_only=True)
class PaymentActionRequired(AttemptFact):
    """The bank wants the buyer to confirm the attempt (3-D Secure); nothing is charged yet."""

    type: ClassVar[str] = "ticketing.payments.payment.action_required.v1"


@dataclass(frozen=True, kw_only=True)
class PaymentUnsure(AttemptFact):
    """The provider's answer did not come: neither success nor failure, until it is asked."""

    type: ClassVar[str] = "ticketing.payments.payment.unsure.v1"

    reason: str


@dataclass(frozen=True, kw_only=True)
class PaymentNotified(AttemptFact):
    """The provider told something of an attempt by a webhook; it is asked for the truth."""

    type: ClassVar[str] = "ticketing.payments.payment.notified.v1"

    webhook_id: str
    webhook_type: str
    webhook_created_at: datetime
    received_at: datetime


@dataclass(frozen=True, kw_only=True)
class PaymentRefundRequested(AttemptFact):
    """Money of an attempt is to go back to the buyer."""

    type: ClassVar[str] = "ticketing.payments.payment.refund_requested.v1"

    refund_id: str
    refund_cents: int
    reason: str
    requested_by: str
    requested_at: datetime


@dataclass(frozen=True, kw_only=True)
class PaymentRefunded(AttemptFact):
    """Money of an attempt went back to the buyer: all of it, or a part.

    The defaults are those of events from before refunds had an id, which gave back everything.
    """

    type: ClassVar[str] = "ticketing.payments.payment.refunded.v1"

    reason: str
    refunded_at: datetime
    refund_id: str = ""
    refund_cents: int = 0
    refunded_total_cents: int = 0
    requested_by: str = ""
    returned_total_cents: int = 0


@dataclass(frozen=True, kw_only=True)
class PaymentRefundFailed(AttemptFact):
    """A refund came to nothing, maybe after it was told as done."""

    type: ClassVar[str] = "ticketing.payments.payment.refund_failed.v1"

    refund_id: str
    refund_cents: int
    refunded_total_cents: int
    reason: str
    requested_by: str
    failed_at: datetime


@dataclass(frozen=True, kw_only=True)
class PaymentDisputed(AttemptFact):
    """The buyer's bank disputes a payment, or has decided on it."""

    type: ClassVar[str] = "ticketing.payments.payment.disputed.v1"

    dispute_id: str
    dispute_status: str
    dispute_cents: int
    reason: str
    returned_total_cents: int = 0


@dataclass(frozen=True, kw_only=True)
class PaymentClosed(PaymentFact):
    """No payment of this order can succeed any more."""

    type: ClassVar[str] = "ticketing.payments.payment.closed.v1"


@dataclass(frozen=True, kw_only=True)
class OrderFact:
    """What payments reads of an order's event, all of which carry its whole state."""

    topic: ClassVar[str] = "ticketing.orders"
    namespace: ClassVar[str] = "ticketing.orders"
    aggregate_type: ClassVar[str] = "order"
    type: ClassVar[str]

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
class OrderExpired(OrderFact):
    """The time to pay ran out; orders waits for PaymentClosed before it frees the ticket."""

    type: ClassVar[str] = "ticketing.orders.order.expired.v1"


@dataclass(frozen=True, kw_only=True)
class OrderCancelled(OrderFact):
    """The order ended unpaid."""

    type: ClassVar[str] = "ticketing.orders.order.cancelled.v1"

    reason: str


@dataclass(frozen=True, kw_only=True)
class OrderRefundRequested(OrderFact):
    """Money of an order that has no ticket for it, or no longer, must go back."""

    type: ClassVar[str] = "ticketing.orders.order.refund_requested.v1"

    payment_id: str
    reason: str
    refund_id: str = ""
    requested_by: str = ""
