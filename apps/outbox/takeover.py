"""Who sends the rows that were written for a relay, once Debezium reads the same table."""

from __future__ import annotations

import uuid

from .conf import settings
from .connector import slot_name
from .models import OutboxEvent, ReplicationSlot
from .transactions import transactional

LEAVING = "leaving"
State = OutboxEvent.State


@transactional
def take_over(event_ids: list[bytes]) -> set[bytes]:
    """Take those of the events for change data capture that wait for a relay, and return them.

    No relay works any more by then. On the way back to the relay, nothing is taken.
    """
    known = ReplicationSlot.objects.filter(pk=slot_name(settings.OUTBOX_CONNECTOR)).first()
    if known is None or LEAVING in known.facts:
        return set()
    ids = [parsed for text in event_ids if (parsed := _parsed(text)) is not None]
    rows = OutboxEvent.objects.filter(pk__in=ids)
    rows.filter(state=State.PENDING).update(state=State.CAPTURED)
    taken = rows.filter(state=State.CAPTURED).values_list("pk", flat=True)
    return {str(pk).encode() for pk in taken}


def _parsed(text: bytes) -> uuid.UUID | None:
    try:
        return uuid.UUID(text.decode())
    except ValueError:
        return None
