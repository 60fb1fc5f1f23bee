"""The copies of tickets, fed by the events of tickets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.orders.models import TicketCopy
from apps.outbox.transactions import transactional

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apps.orders.events import TicketState


@transactional
def record_ticket(*, ticket: TicketState) -> None:
    """Bring the copy of a ticket to this version, unless it is as new already."""
    state = ticket_state(ticket)
    key = ticket.ticket_id
    TicketCopy.objects.bulk_create([TicketCopy(ticket_id=key, **state)], ignore_conflicts=True)
    TicketCopy.objects.filter(pk=key, version__lt=ticket.version).update(**state)


def ticket_state(ticket: TicketState) -> dict[str, Any]:
    """Return what the copy of a ticket says after the event, beside the ticket's id."""
    return {
        "version": ticket.version,
        "title": ticket.title,
        "price_cents": ticket.price_cents,
        "currency": ticket.currency,
        "seller_id": ticket.seller_id,
        "order_id": ticket.order_id or "",
        "is_withdrawn": ticket.is_withdrawn,
    }


@transactional
def restore_ticket(*, ticket_id: str, state: Mapping[str, Any] | None) -> None:
    """Make the copy of a ticket what its events say, unless it has become newer meanwhile.

    A copy that no event speaks of (None) is removed.
    """
    copies = TicketCopy.objects.filter(pk=ticket_id)
    if state is None:
        copies.delete()
        return
    TicketCopy.objects.bulk_create(
        [TicketCopy(ticket_id=ticket_id, **state)], ignore_conflicts=True
    )
    copies.filter(version__lte=state["version"]).update(**state)
