"""The only writer of orders, their refunds and the copies of tickets.

Each function is one transaction, or a part of the caller's. It locks the order's row first and
then, where the claim on a ticket is at stake, the ticket's copy: in this sequence everywhere, so
that two of them never wait for each other.
"""

from __future__ import annotations

from apps.orders.services.admitting import admit_bearer
from apps.orders.services.copying import record_ticket, restore_ticket, ticket_state
from apps.orders.services.noting import note_received
from apps.orders.services.ordering import (
    PAID_TWICE,
    RESOLD,
    TICKET_ID,
    WRONG_AMOUNT,
    YOU_CANCELLED,
    TicketAlreadyReserved,
    TicketNotFound,
    cancel_order,
    close_order,
    create_order,
    expire_order,
    fail_payment,
    record_payment,
    start_payment,
)
from apps.orders.services.refunding import (
    fail_refund,
    note_refund,
    record_dispute,
    record_refund,
)

__all__ = [
    "PAID_TWICE",
    "RESOLD",
    "TICKET_ID",
    "WRONG_AMOUNT",
    "YOU_CANCELLED",
    "TicketAlreadyReserved",
    "TicketNotFound",
    "admit_bearer",
    "cancel_order",
    "close_order",
    "create_order",
    "expire_order",
    "fail_payment",
    "fail_refund",
    "note_received",
    "note_refund",
    "record_dispute",
    "record_payment",
    "record_refund",
    "record_ticket",
    "restore_ticket",
    "start_payment",
    "ticket_state",
]
