"""What a person may do to what waits, and the trail of who did what.

Each action is written down in the transaction of its effect: there is none without the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from . import dead_letters
from .dead_letters import Failure, ReasonMissing, Record, Refused, Stage, unpack_headers
from .models import DeadLetter, OutboxEvent, ParkedRecord
from .records import Row, unbuildable
from .trail import note
from .transactions import transactional

log = structlog.get_logger(__name__)

GIVEN_UP = "discarded"
RELAY = "relay"
State = OutboxEvent.State


class NotWaiting(Refused):
    """What was to be tried again, or given up, does not wait (any more)."""


@transactional
def retry_event(event_id: UUID, *, by: str) -> None:
    """Let the relay try the event at once, as if it had not failed yet.

    Raises:
        NotWaiting: it is not pending, or was not refused yet.
    """
    blocked = OutboxEvent.objects.filter(pk=event_id, state=State.PENDING, attempts__gt=0)
    if not blocked.update(attempts=0, due_at=Now(), last_error=""):
        raise NotWaiting(f"Event {event_id} has not been refused, or does not wait any more.")
    note(by, "retry_now", f"event/{event_id}")


@transactional
def discard_event(event_id: UUID, *, by: str, reason: str) -> None:
    """Give an event up that cannot be sent, so that its key goes on without it.

    What it held stays to be seen, as a dead letter that was discarded. Should a relay have handed
    it to the brokers in this very moment, `sent_after_all` takes the discard back.

    Raises:
        ReasonMissing: the reason is blank.
        NotWaiting: it is not pending, or was not refused yet, or is just being tried: an event
            that may be on its way cannot be called back.
    """
    why = _reason(reason)
    event = OutboxEvent.objects.filter(pk=event_id).first()
    if event is None:
        raise NotWaiting(f"There is no event {event_id}.")
    # Before it is due no relay reads it, by the same clock: that of the database.
    changed = OutboxEvent.objects.filter(
        pk=event_id,
        state=State.PENDING,
        attempts=event.attempts,
        attempts__gt=0,
        due_at__gt=Now(),
    ).update(state=State.DEAD)
    if not changed:
        raise NotWaiting(
            f"Event {event_id} is not blocked, or its relay is just trying it: look again."
        )
    rec = unbuildable(_row(event))
    failure = Failure(
        stage=Stage.RELAY,
        kind=GIVEN_UP,
        message=event.last_error or "Given up by an operator.",
        attempts=event.attempts,
        first_failed_at=event.occurred_at,
        last_failed_at=timezone.now(),
    )
    _keep_discarded(rec, failure, str(event_id), by=by, why=why)
    note(by, "discard_event", f"event/{event_id}", why)


@transactional
def retry_parked(record_id: str, *, by: str) -> None:
    """Let the consumer try a parked record at once.

    Raises:
        NotWaiting: it is parked no more, or has not failed itself: then it waits for one that has.
    """
    failed = ParkedRecord.objects.filter(pk=record_id).exclude(error_message="")
    # A time that has passed by the clock of whichever process compares it.
    if not failed.update(due_at=F("parked_at")):
        raise NotWaiting(
            f"{record_id} is parked no more, or waits behind another record of its key: try that."
        )
    note(by, "retry_now", f"parked/{record_id}")


@transactional
def discard_parked(record_id: str, *, by: str, reason: str) -> None:
    """Give a parked record up, so that its key goes on without it.

    What it held stays to be seen, as a dead letter that was discarded. If it takes effect in the
    same moment, one of the two transactions finds the record gone and undoes itself.

    Raises:
        ReasonMissing: the reason is blank.
        NotWaiting: it is parked no more.
    """
    why = _reason(reason)
    row = ParkedRecord.objects.filter(pk=record_id).first()
    if row is None or not ParkedRecord.objects.filter(pk=record_id).delete()[0]:
        raise NotWaiting(f"{record_id} is parked no more.")
    rec = Record(
        topic=row.topic,
        partition=row.partition,
        offset=row.offset,
        key=None if row.key is None else bytes(row.key),
        value=None if row.value is None else bytes(row.value),
        headers=unpack_headers(row.headers),
    )
    failure = Failure(
        stage=Stage.CONSUMER,
        group=row.group,
        kind=row.error_kind or GIVEN_UP,
        message=row.error_message or "Given up by an operator.",
        attempts=row.attempts,
        first_failed_at=row.first_failed_at or row.parked_at,
        # Not now: a person's decision is no failure that should stop the consumer (DlqLimit).
        last_failed_at=row.parked_at,
    )
    _keep_discarded(rec, failure, row.event_id, by=by, why=why)
    note(by, "discard_parked", f"parked/{record_id}", why)


def sent_after_all(event_ids: Sequence[UUID]) -> None:
    """Take back the discards of events that the brokers have, in the transaction that marks them.

    Between a relay's look at a row and the brokers' answer somebody may have discarded it. What is
    on the topic is published: row, letter and trail must say so.
    """
    dead = OutboxEvent.objects.filter(pk__in=event_ids, state=State.DEAD)
    for event_id in list(dead.values_list("pk", flat=True)):
        OutboxEvent.objects.filter(pk=event_id).update(state=State.PUBLISHED, published_at=Now())
        why = "The brokers had it already when it was discarded: it is published."
        DeadLetter.objects.filter(pk=dead_letters.id_of_unsent(event_id)).update(
            state=DeadLetter.State.REPLAYED, replays=F("replays") + 1, resolution=why
        )
        note(RELAY, "sent_after_all", f"event/{event_id}", why)
        log.error("discarded_event_was_sent", event_id=str(event_id))


def _reason(text: str) -> str:
    if not text.strip():
        raise ReasonMissing("Say why it may be discarded.")
    return text.strip()


def _keep_discarded(rec: Record, failure: Failure, event_id: str, *, by: str, why: str) -> None:
    """Keep a letter that is decided upon, as it is now: an earlier one is brought up to date."""
    letter_id = dead_letters.record(rec, failure, event_id=event_id)
    DeadLetter.objects.filter(pk=letter_id).update(
        state=DeadLetter.State.DISCARDED,
        value=rec.value,
        headers=dead_letters.pack_headers(rec.headers),
        resolved_at=timezone.now(),
        resolved_by=by,
        resolution=why,
    )


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
