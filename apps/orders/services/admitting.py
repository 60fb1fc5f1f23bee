"""Letting the bearer of a ticket in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.orders.services.writing import lock_order
from apps.outbox.transactions import transactional

if TYPE_CHECKING:
    from datetime import datetime


@transactional
def admit_bearer(*, order_id: str, now: datetime) -> None:
    """Note that somebody goes in with the ticket of this order.

    Raises:
        OrderNotFound: there is none.
        TransitionRefused: it is not paid, or somebody went in before: also at the same moment.
    """
    order = lock_order(order_id)
    order.use(now=now)
    order.save()
