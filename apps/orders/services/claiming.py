"""What a reservation asks of PostgreSQL, in statements that are written once.

To have Django compose these two for each of a crowd costs several times what PostgreSQL does for
them (`python -m bench sale`).
"""

from __future__ import annotations

from django.db import connection

from apps.orders.models import TicketCopy

CLAIM = """
SELECT id, buyer_id FROM orders_order
WHERE ticket_id = %s AND status IN ('created', 'awaiting_payment', 'complete')
"""
COPY = """
SELECT ticket_id, version, title, price_cents, currency, seller_id, order_id, is_withdrawn
FROM orders_ticketcopy WHERE ticket_id = %s FOR UPDATE
"""
COLUMNS = (
    *("ticket_id", "version", "title", "price_cents", "currency"),
    *("seller_id", "order_id", "is_withdrawn"),
)


def find_claim(ticket_id: str) -> tuple[str, str] | None:
    """Return the order that has the ticket, and its buyer; None while nobody has it here."""
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, [ticket_id])
        found = cursor.fetchone()
    return None if found is None else (str(found[0]), found[1])


def lock_copy(ticket_id: str) -> TicketCopy | None:
    """Return the ticket's copy, locked till the end of the transaction."""
    with connection.cursor() as cursor:
        cursor.execute(COPY, [ticket_id])
        found = cursor.fetchone()
    return None if found is None else TicketCopy.from_db(connection.alias, COLUMNS, found)
