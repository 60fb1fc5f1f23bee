"""The only writer of tickets. Each function is one transaction that also holds its event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict

from bson import ObjectId
from django.conf import settings

from apps.core.errors import Conflict
from apps.outbox.publish import publish
from apps.outbox.transactions import transactional
from apps.tickets import selectors
from apps.tickets.events import TicketCreated, TicketUpdated
from apps.tickets.models import Ticket


class TicketChanged(Conflict):
    """Somebody else changed the ticket meanwhile."""

    code = "ticket_changed"


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A ticket to import under a given id.

    Args:
        ticket_id: 24 hexadecimal digits, stable from one import to the next.
    """

    ticket_id: str
    seller_id: str
    title: str
    price_cents: int
    listed_at: datetime


@transactional
def create_ticket(*, seller_id: str, title: str, price_cents: int, now: datetime) -> Ticket:
    """List a ticket for sale.

    Publishes TicketCreated.

    Raises:
        Invalid: the title or the price breaks a rule.
    """
    ticket = _new_ticket(
        Listing(
            ticket_id=str(ObjectId()),
            seller_id=seller_id,
            title=title,
            price_cents=price_cents,
            listed_at=now,
        )
    )
    ticket.save(force_insert=True)
    publish(TicketCreated(**_state(ticket)))
    return ticket


@transactional
def update_ticket(
    *, ticket_id: str, seller_id: str, title: str, price_cents: int, now: datetime
) -> Ticket:
    """Change the title and price of a ticket that nobody holds.

    Publishes TicketUpdated.

    Raises:
        TicketNotFound: there is no such ticket.
        NotSignedIn: it is somebody else's.
        TicketReserved: an order holds or bought it.
        Invalid: the title or the price breaks a rule.
    """
    ticket = selectors.get_own_ticket(ticket_id, seller_id=seller_id)
    ticket.edit(title=title, price_cents=price_cents, at=now)
    return _store(ticket)


@transactional
def withdraw_ticket(*, ticket_id: str, seller_id: str, now: datetime) -> Ticket:
    """Take a listing back that nobody holds.

    Publishes TicketUpdated.

    Raises:
        TicketNotFound: there is no such ticket.
        NotSignedIn: it is somebody else's.
        TicketReserved: an order holds or bought it.
        TicketWithdrawn: it was taken back before.
    """
    ticket = selectors.get_own_ticket(ticket_id, seller_id=seller_id)
    ticket.withdraw(at=now)
    return _store(ticket)


@transactional
def relist_ticket(*, ticket_id: str, seller_id: str, now: datetime) -> Ticket:
    """Offer a withdrawn ticket again.

    Publishes TicketUpdated.

    Raises:
        TicketNotFound: there is no such ticket.
        NotSignedIn: it is somebody else's.
        TicketReserved: an order that crossed the withdrawal holds or bought it.
        TicketListed: it is for sale already.
    """
    ticket = selectors.get_own_ticket(ticket_id, seller_id=seller_id)
    ticket.relist(at=now)
    return _store(ticket)


@transactional
def take_down_ticket(*, ticket_id: str, now: datetime) -> Ticket:
    """Withdraw anybody's listing, for an administrator.

    Publishes TicketUpdated.

    Raises:
        TicketNotFound: there is no such ticket.
        TicketReserved: an order holds or bought it.
        TicketWithdrawn: it was taken back before.
    """
    ticket = selectors.get_ticket(ticket_id)
    ticket.withdraw(at=now)
    return _store(ticket)


@transactional
def reserve_ticket(*, ticket_id: str, order_id: str, now: datetime) -> Ticket:
    """Show the ticket as held by an order; the order exists, so this cannot be refused.

    Publishes TicketUpdated, unless the order holds it already or ended before.

    Raises:
        TicketNotFound: there is no such ticket.
    """
    ticket = selectors.get_ticket(ticket_id)
    return _store(ticket) if ticket.reserve(order_id, at=now) else ticket


@transactional
def release_ticket(*, ticket_id: str, order_id: str, now: datetime) -> Ticket:
    """End the hold of this order; a late or repeated end changes nothing for other orders.

    Publishes TicketUpdated if the order had a hold.

    Raises:
        TicketNotFound: there is no such ticket.
    """
    ticket = selectors.get_ticket(ticket_id)
    if ticket.release(order_id, at=now):
        return _store(ticket)
    if ticket.forget(order_id):
        _update(ticket, ended_orders=ticket.ended_orders)
    return ticket


@transactional
def take_ticket_back(*, ticket_id: str, order_id: str, now: datetime) -> Ticket:
    """End the claim of an order that was paid and gave the ticket back, whether or not it shows.

    Publishes TicketUpdated if the order had the ticket, or a hold on it.

    Raises:
        TicketNotFound: there is no such ticket.
    """
    ticket = selectors.get_ticket(ticket_id)
    if order_id in ticket.returned_orders:
        return ticket
    if ticket.take_back(order_id, at=now):
        return _store(ticket)
    _update(ticket, returned_orders=ticket.returned_orders)
    return ticket


@transactional
def sell_ticket(*, ticket_id: str, order_id: str, now: datetime) -> Ticket:
    """Show the ticket as sold to the order that paid.

    Publishes TicketUpdated, unless that is known already.

    Raises:
        TicketNotFound: there is no such ticket.
        TicketSold: another order bought it.
    """
    ticket = selectors.get_ticket(ticket_id)
    return _store(ticket) if ticket.sell(order_id, at=now) else ticket


@transactional
def import_tickets(listings: Sequence[Listing]) -> int:
    """List those of the tickets that are not there yet, all or none of them.

    Publishes TicketCreated for each.

    Returns:
        How many were new.
    """
    ids = [ObjectId(listing.ticket_id) for listing in listings]
    known = set(Ticket.objects.filter(pk__in=ids).values_list("pk", flat=True))
    tickets = [
        _new_ticket(listing) for listing in listings if ObjectId(listing.ticket_id) not in known
    ]
    if tickets:
        Ticket.objects.bulk_create(tickets)
    for ticket in tickets:
        publish(TicketCreated(**_state(ticket)))
    return len(tickets)


def _new_ticket(listing: Listing) -> Ticket:
    ticket = Ticket(
        id=ObjectId(listing.ticket_id),
        currency=settings.CURRENCY,
        seller_id=listing.seller_id,
        created_at=listing.listed_at,
        updated_at=listing.listed_at,
    )
    ticket.describe(title=listing.title, price_cents=listing.price_cents)
    return ticket


class _State(TypedDict):
    ticket_id: str
    version: int
    title: str
    price_cents: int
    currency: str
    seller_id: str
    order_id: str | None
    is_withdrawn: bool


def _state(ticket: Ticket) -> _State:
    return {
        "ticket_id": str(ticket.pk),
        "version": ticket.version,
        "title": ticket.title,
        "price_cents": ticket.price_cents,
        "currency": ticket.currency,
        "seller_id": ticket.seller_id,
        "order_id": ticket.order_id,
        "is_withdrawn": ticket.is_withdrawn,
    }


def _store(ticket: Ticket) -> Ticket:
    """Write the next version of the ticket, if the one that was read is still the newest."""
    _update(
        ticket,
        version=ticket.version + 1,
        title=ticket.title,
        search_terms=ticket.search_terms,
        price_cents=ticket.price_cents,
        status=ticket.status,
        order_id=ticket.order_id,
        holds=ticket.holds,
        returned_orders=ticket.returned_orders,
        is_withdrawn=ticket.is_withdrawn,
        updated_at=ticket.updated_at,
    )
    ticket.version += 1
    publish(TicketUpdated(**_state(ticket)))
    return ticket


def _update(ticket: Ticket, **changes: object) -> None:
    if Ticket.objects.filter(pk=ticket.pk, version=ticket.version).update(**changes) != 1:
        raise TicketChanged("The ticket was changed meanwhile: look at it and try again")
