"""A small history in which every rule holds; tests spoil one thing of it."""

from __future__ import annotations

from datetime import UTC, datetime

from prove.facts import Facts
from prove.load import Told

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOLD, FREE = "ticket-sold", "ticket-free"
PAID, CANCELLED, LATE = "order-paid", "order-cancelled", "order-late"
SELLER, BUYER = "seller", "buyer"
ATTEMPT = "attempt-that-paid"
CENTS = 1250
GROUPS = {"ticketing.orders": ("ticketing.tickets", "ticketing.payments")}
PLANTED = ("ticketing.orders", "planted-event")


def make_ticket(*, order_id: str | None = None) -> dict:
    return {
        "title": "Row 1",
        "price_cents": CENTS,
        "currency": "usd",
        "seller_id": SELLER,
        "status": "sold" if order_id else "free",
        "order_id": order_id,
        "holds": [order_id] if order_id else [],
        "is_withdrawn": False,
        "version": 3,
    }


def make_order(*, ticket_id: str, status: str) -> dict:
    return {
        "ticket_id": ticket_id,
        "buyer_id": BUYER,
        "status": status,
        "price_cents": CENTS,
        "payment_id": ATTEMPT if status == "complete" else "",
        "expires_at": NOW,
        "cancelled_at": NOW if status == "cancelled" else None,
    }


def make_payment(*, state: str) -> dict:
    return {
        "amount_cents": CENTS,
        "buyer_id": BUYER,
        "paid_payment_id": "" if state == "closed" else ATTEMPT,
        "state": state,
    }


def make_attempt(order_id: str, *, status: str = "succeeded") -> dict:
    return {
        "_id": f"attempt-{order_id}",
        "order_id": order_id,
        "intent_id": f"pi_{order_id}",
        "status": status,
    }


def make_intent(order_id: str) -> dict:
    metadata = {"order_id": order_id}
    return {"id": f"pi_{order_id}", "status": "succeeded", "metadata": metadata}


def make_charge(order_id: str, *, refunded: int = 0, number: int = 1) -> dict:
    return {
        "id": f"ch_{order_id}_{number}",
        "payment_intent": f"pi_{order_id}",
        "paid": True,
        "amount": CENTS,
        "amount_refunded": refunded,
    }


def make_entry(order_id: str, cents: int, *, kind: str = "charge") -> dict:
    lines = [
        {"account": "stripe_balance", "cents": cents},
        {"account": "held_for_orders", "cents": -cents},
    ]
    return {"reference": f"{kind}:{order_id}", "order_id": order_id, "lines": lines}


def make_told(what: str, status: int, subject: str, **body: object) -> Told:
    who = SELLER if what == "list" else BUYER
    return Told(at=0, took=0.1, who=who, what=what, status=status, subject=subject, body=body)


def make_letter(group: str, event_id: str = PLANTED[1]) -> dict:
    return {
        "group": group,
        "topic": PLANTED[0],
        "event_id": event_id,
        "stage": "consumer",
        "error_message": "no event",
    }


def make_facts() -> Facts:
    """Return a ticket that was sold and one that was given back: cancelled, and paid too late."""
    return Facts(
        told=[
            make_told("signup", 201, BUYER),
            make_told("list", 201, SOLD, title="Row 1", price=12.5),
            make_told("reserve", 201, PAID, ticketId=SOLD),
            make_told("pay", 201, PAID, id=f"attempt-{PAID}"),
            make_told("cancel", 204, CANCELLED),
        ],
        users={BUYER: {}, SELLER: {}},
        tickets={SOLD: make_ticket(order_id=PAID), FREE: make_ticket()},
        copies={SOLD: make_ticket(order_id=PAID), FREE: make_ticket()},
        orders={
            PAID: make_order(ticket_id=SOLD, status="complete"),
            CANCELLED: make_order(ticket_id=FREE, status="cancelled"),
            LATE: make_order(ticket_id=SOLD, status="cancelled"),
        },
        payments={
            PAID: make_payment(state="paid"),
            CANCELLED: make_payment(state="closed"),
            LATE: make_payment(state="refunded"),
        },
        deadlines={order_id: {"state": "fired"} for order_id in (PAID, CANCELLED, LATE)},
        attempts=[make_attempt(PAID), make_attempt(LATE, status="refunded")],
        intents=[make_intent(PAID), make_intent(LATE)],
        charges=[make_charge(PAID), make_charge(LATE, refunded=CENTS)],
        ledger=[
            make_entry(PAID, CENTS),
            make_entry(LATE, CENTS),
            make_entry(LATE, -CENTS, kind="refund"),
        ],
        waiting={"payments: parked": 0},
        letters=[make_letter(group) for group in GROUPS[PLANTED[0]]],
        planted=[PLANTED],
        readers=dict(GROUPS),
    )
