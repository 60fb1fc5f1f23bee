"""The smallest useful handlers: one document is changed by each event."""

from __future__ import annotations

from typing import Any

from django.db import connection
from pymongo import UpdateOne

from apps.outbox.inbox import Together
from bench.events import OrderCreated

READINGS = "bench_reading"


class OutOfOrder(Exception):
    """An event came before the one before it, or took effect twice."""


def on_order_created(event: OrderCreated) -> None:
    """Change the document by the driver itself: the ORM would take longer than all the rest."""
    conn: Any = connection
    changed = conn.database[READINGS].update_one(*_change(event), session=conn.session)
    if not changed.matched_count:
        raise OutOfOrder(f"{event.order_id} is not at version {event.version - 1}.")


def on_orders_created(events: list[OrderCreated]) -> None:
    """Change the documents of many events in one statement, each as if it were alone."""
    conn: Any = connection
    changes = [UpdateOne(*_change(event)) for event in events]
    changed = conn.database[READINGS].bulk_write(changes, session=conn.session)
    if changed.matched_count != len(events):
        raise OutOfOrder(
            f"{len(events) - changed.matched_count} of {len(events)} are out of order."
        )


def _change(event: OrderCreated) -> tuple[dict[str, Any], dict[str, Any]]:
    behind = {"_id": event.order_id, "version": event.version - 1}
    return behind, {"$set": {"version": event.version}}


HANDLERS = {OrderCreated: on_order_created}
TOGETHER = {OrderCreated: Together(on_orders_created)}
