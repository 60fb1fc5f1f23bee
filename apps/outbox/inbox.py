"""One effect for each event and consumer group, however often the event arrives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError
from django.utils import timezone

from apps.outbox.models import ReceivedEvent
from apps.outbox.transactions import transactional


@dataclass(frozen=True, kw_only=True)
class Message:
    """An event as it was received, and where."""

    group: str
    event_id: str
    topic: str
    partition: int
    offset: int
    key: str
    event: Any

    @property
    def inbox_id(self) -> str:
        return f"{self.group}/{self.event_id}"


def process_once(message: Message, handler: Callable[[Any], None]) -> bool:
    """Run the handler in one transaction with the note that the event was received.

    Returns:
        Whether the handler ran; False is an event that has taken effect before.

    Raises:
        Exception: whatever the handler raises; then neither note nor effect is left.
    """
    try:
        _receive(message, handler)
    except IntegrityError:
        # The note comes first in the transaction, so that a duplicate costs one refused insert
        # and a new event no lookup. The handler may break a constraint of its own: then the
        # note was rolled back and cannot be found.
        if ReceivedEvent.objects.filter(pk=message.inbox_id).exists():
            return False
        raise
    return True


@transactional
def _receive(message: Message, handler: Callable[[Any], None]) -> None:
    ReceivedEvent.objects.create(
        id=message.inbox_id,
        type=type(message.event).type,
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        key=message.key,
        version=message.event.version,
        received_at=timezone.now(),
    )
    handler(message.event)
