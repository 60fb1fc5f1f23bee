"""Tickets and their sellers, with defaults that a test may override."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from bson import ObjectId
from django.test import Client
from django.utils import timezone

from apps.core.identity import COOKIE, issue_token
from apps.outbox.models import OutboxEvent
from apps.tickets import services
from apps.tickets.events import OrderCancelled, OrderCompleted, OrderCreated
from apps.tickets.models import Ticket

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def new_id() -> str:
    return str(ObjectId())


def build_ticket(**overrides: Any) -> Ticket:
    """Make a ticket that is in no database."""
    ticket = Ticket(
        id=ObjectId(),
        currency="usd",
        seller_id=overrides.pop("seller_id", new_id()),
        created_at=NOON,
        updated_at=NOON,
    )
    ticket.describe(
        title=overrides.pop("title", "Velvet Harbour, The Foundry"),
        price_cents=overrides.pop("price_cents", 4250),
    )
    for name, value in overrides.items():
        setattr(ticket, name, value)
    return ticket


def list_ticket(
    *,
    title: str = "Velvet Harbour, The Foundry",
    price_cents: int = 4250,
    seller_id: str = "",
    now: datetime = NOON,
) -> Ticket:
    return services.create_ticket(
        seller_id=seller_id or new_id(), title=title, price_cents=price_cents, now=now
    )


def created(ticket: Ticket, order_id: str) -> OrderCreated:
    return OrderCreated(order_id=order_id, version=1, ticket_id=str(ticket.pk))


def completed(ticket: Ticket, order_id: str) -> OrderCompleted:
    return OrderCompleted(order_id=order_id, version=3, ticket_id=str(ticket.pk))


def cancelled(ticket: Ticket, order_id: str) -> OrderCancelled:
    return OrderCancelled(order_id=order_id, version=2, ticket_id=str(ticket.pk))


def published(ticket: Ticket) -> list[OutboxEvent]:
    """Return the ticket's events, oldest first."""
    return list(OutboxEvent.objects.filter(aggregate_id=str(ticket.pk)).order_by("version"))


def token_of(user_id: str, *, is_staff: bool = False) -> str:
    return issue_token(user_id, f"{user_id}@example.com", is_staff, timezone.now())


def sign_in(client: Client, user_id: str, *, is_staff: bool = False) -> Client:
    client.cookies[COOKIE] = token_of(user_id, is_staff=is_staff)
    return client
