"""The smallest useful handler: one document is changed by each event."""

from __future__ import annotations

from bench.events import OrderCreated
from bench.models import Reading


class OutOfOrder(Exception):
    """An event came before the one before it, or took effect twice."""


def on_order_created(event: OrderCreated) -> None:
    behind = Reading.objects.filter(pk=event.order_id, version=event.version - 1)
    if not behind.update(version=event.version):
        raise OutOfOrder(f"{event.order_id} is not at version {event.version - 1}.")


HANDLERS = {OrderCreated: on_order_created}
