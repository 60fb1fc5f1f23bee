"""What a person may do to events, and the trail of who did what.

Each action is written down in the transaction of its effect: there is none without the other.
"""

from __future__ import annotations

from uuid import UUID

import structlog
from django.utils import timezone

from . import dead_letters
from .dead_letters import ReasonMissing, Refused, pack_headers
from .models import DeadLetter, OutboxEvent, ParkedRecord
from .records import Row, unbuildable
from .trail import note
from .transactions import transactional

log = structlog.get_logger(__name__)

GIVEN_UP = "discarded"


class NotWaiting(Refused):
    """What was to be tried again, or given up, does not wait any more."""


@transactional
def retry_event(event_id: UUID, *, by: str) -> None:
    """Let the relay try the event at once, as if it had not failed yet.

    Raises:
        NotWaiting: it is not pending, or was not refused yet.
    """
    changed = OutboxEvent.objects.filter(
        pk=event_id, state=OutboxEvent.State.PENDING, attempts__gt=0
    ).update(attempts=0, due_at=timezone.now(), last_error="")
    if not changed:
        raise NotWaiting(f"Event {event_id} has not been refused, or does not wait any more.")
    note(by, "retry_now", f"event/{event_id}")


@transactional
def discard_event(event_id: UUID, *, by: str, reason: str) -> None:
    """Give an event up that cannot be sent, so that its key goes on without it.

    What it held stays to be seen, as a dead letter that was discarded.

    Raises:
        ReasonMissing: the reason is blank.
        NotWaiting: it is not pending, or was not refused yet: an event that may be on its way
            cannot be called back.
    """
    if not reason.strip():
        raise ReasonMissing("Say why the event may be discarded.")
    event = OutboxEvent.objects.get(pk=event_id)
    now = timezone.now()
    changed = OutboxEvent.objects.filter(
        pk=event_id,
        state=OutboxEvent.State.PENDING,
        attempts=event.attempts,
        attempts__gt=0,
        due_at__gt=now,
    ).update(state=OutboxEvent.State.DEAD)
    if not changed:
        raise NotWaiting(
            f"Event {event_id} is not blocked, or its relay is just trying it. Look again."
        )
    rec = unbuildable(_row(event))
    failure = dead_letters.Failure(
        stage=DeadLetter.Stage.RELAY,
        kind=GIVEN_UP,
        message=event.last_error or "Given up by an operator.",
        attempts=event.attempts,
        first_failed_at=event.occurred_at,
        last_failed_at=now,
    )
    letter_id = dead_letters.record(rec, failure, event_id=str(event_id))
    DeadLetter.objects.filter(pk=letter_id).update(
        state=DeadLetter.State.DISCARDED,
        headers=pack_headers(rec.headers),
        resolved_at=now,
        resolved_by=by,
        resolution=reason.strip(),
    )
    note(by, "discard_event", f"event/{event_id}", reason.strip())


@transactional
def retry_parked(record_id: str, *, by: str) -> None:
    """Let the consumer try a parked record at once.

    Raises:
        NotWaiting: it is parked no more.
    """
    if not ParkedRecord.objects.filter(pk=record_id).update(due_at=timezone.now()):
        raise NotWaiting(f"{record_id} is parked no more.")
    note(by, "retry_now", f"parked/{record_id}")


def _row(event: OutboxEvent) -> Row:
    return Row(
        event_id=event.pk,
        topic=event.topic,
        key=event.key,
        version=event.version,
        type=event.type,
        record=event.record,
        payload=bytes(event.payload),
        headers=event.headers,
        occurred_at=event.occurred_at,
        aggregate_id=event.aggregate_id,
    )
