from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings

from apps.core.errors import NotFound, NotSignedIn
from apps.orders.models import Order, Refund, TicketCopy, parse_order_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from typing import Any

    from django.db.models import QuerySet

    from apps.core.passes import Pass


class OrderNotFound(NotFound):
    code = "order_not_found"


def get_order(*, order_id: str, buyer_id: str) -> Order:
    """Return the buyer's order.

    Raises:
        OrderNotFound: there is none, or the id is malformed.
        NotSignedIn: it is another's. This comes before anything that depends on its status.
    """
    key = parse_order_id(order_id)
    order = None if key is None else Order.objects.filter(pk=key).first()
    if order is None:
        raise OrderNotFound
    if order.buyer_id != buyer_id:
        raise NotSignedIn
    return order


def find_order_of_pass(*, claims: Pass) -> Order | None:
    """Return the order that a pass was made for."""
    key = parse_order_id(claims.order_id)
    if key is None:
        return None
    return Order.objects.filter(
        pk=key, ticket_id=claims.ticket_id, buyer_id=claims.buyer_id
    ).first()


def list_orders(*, buyer_id: str) -> QuerySet[Order]:
    """Return the buyer's orders, oldest first."""
    return Order.objects.filter(buyer_id=buyer_id).order_by("created_at", "id")


def list_newest_orders(*, buyer_id: str) -> QuerySet[Order]:
    """Return the buyer's orders, newest first, with their refunds."""
    orders = Order.objects.filter(buyer_id=buyer_id).order_by("-created_at", "-id")
    return orders.prefetch_related("refunds")


def find_returnable_until(*, order: Order, now: datetime) -> datetime | None:
    """Tell until when the buyer may still give a paid ticket back; None if not any more."""
    within = timedelta(seconds=settings.PAID_ORDER_CANCELLATION_SECONDS)
    until = order.returnable_until(within)
    return until if until is not None and now < until else None


def list_refunds(*, order: Order) -> list[Refund]:
    """Return what went, or is going, back to the buyer."""
    return list(order.refunds.all())


def list_ticket_copies() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what orders knows of each ticket, by the ticket's id."""
    for copy in TicketCopy.objects.values().iterator():
        yield copy["ticket_id"], {name: of for name, of in copy.items() if name != "ticket_id"}
