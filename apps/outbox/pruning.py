"""Removing what has been done for long: published events, inbox notes and decided dead letters.

Rows are walked by their primary key, which is in the order of time (UUIDv7, and in the inbox the
group's name before it), a chunk at a time: no other index is needed, no statement is long, and
whoever is interrupted just begins again. What may go is said once more by each statement that
deletes, so that a row which changes meanwhile stays.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Model, Q, QuerySet
from django.utils import timezone

from . import kafka, offsets, slot_guard, trail
from .conf import settings
from .models import DeadLetter, OperatorAction, OutboxEvent, ReceivedEvent
from .transactions import transactional

# Relays and consumers write down their work within minutes, whatever fails.
SHORTEST = timedelta(hours=1)
PRUNED, EVENTS = "prune", "events"
State = OutboxEvent.State


class TooSoon(Exception):
    """What was asked for could remove something that is still needed."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A part of the table that has been walked.

    Args:
        upto: the last key of it.
        removed: how many rows of it went, or would have gone.
    """

    upto: str
    removed: int


def prune_events(
    older_than: timedelta, *, batch: int, by: str, dry_run: bool = False
) -> Iterator[Chunk]:
    """Remove events that were published, or surely captured, before that time; no others.

    Raises:
        TooSoon: `older_than` is less than an hour.
    """
    before = _before(older_than)
    may_go = Q(state=State.PUBLISHED, published_at__lt=before)
    confirmed = slot_guard.confirmed_until()
    if confirmed is not None:
        may_go |= Q(state=State.CAPTURED, occurred_at__lt=min(before, confirmed))
    if not dry_run:
        # From now on, a record without a row is no proof that nobody committed it.
        trail.note(by, PRUNED, EVENTS, before.isoformat())
    end = first_id_at(before)
    rows = OutboxEvent.objects.filter(pk__lt=end)
    yield from _walk(rows, may_go, batch, dry_run=dry_run)


def prune_inbox(group: str, *, batch: int, dry_run: bool = False) -> Iterator[Chunk]:
    """Remove the group's notes of INBOX_RETENTION_SECONDS ago, but none that may still be needed.

    A note is what makes an event harmless that comes again. So it stays while the group has not
    committed the offset behind the record: Kafka would hand that out again.

    Raises:
        TooSoon: an event may be tried for longer than notes are kept.
        KafkaException: Kafka is away, and so nobody knows what it will hand out.
    """
    kept = timedelta(seconds=settings.INBOX_RETENTION_SECONDS)
    longest = timedelta(seconds=settings.OUTBOX_RETRY_DEADLINE_SECONDS)
    if kept <= longest:
        raise TooSoon(
            f"INBOX_RETENTION_SECONDS keeps notes for {kept}, and an event may be tried for "
            f"{longest} (OUTBOX_RETRY_DEADLINE_SECONDS). Keep them longer than that."
        )
    before = _before(kept)
    done = Q(pk__in=[])
    admin = kafka.admin()  # it must live until the answer is there
    for (topic, partition), offset in offsets.committed(admin, group).items():
        done |= Q(topic=topic, partition=partition, offset__lt=offset)
    # Events from elsewhere whose id is no UUIDv7 may sort behind the end, and stay.
    rows = ReceivedEvent.objects.filter(
        pk__gte=f"{group}/", pk__lt=f"{group}/{first_id_at(before)}"
    )
    may_go = Q(received_at__lt=before) & done
    yield from _walk(rows, may_go, batch, dry_run=dry_run)


def prune_letters(older_than: timedelta, *, dry_run: bool = False) -> int:
    """Remove dead letters that were decided upon before that time, and the discarded events."""
    before = _before(older_than)
    decided = DeadLetter.objects.filter(
        state__in=(DeadLetter.State.REPLAYED, DeadLetter.State.DISCARDED), resolved_at__lt=before
    )
    if dry_run:
        return decided.count()
    removed = 0
    for letter_id in list(decided.values_list("pk", flat=True)):
        removed += _remove_letter(decided.filter(pk=letter_id))
    return removed


@transactional
def _remove_letter(found: QuerySet[DeadLetter]) -> int:
    """Remove the letter with the row of the outbox that it stands for, both or neither."""
    letter = found.first()
    if letter is None:
        return 0
    if letter.stage == DeadLetter.Stage.RELAY and letter.state == DeadLetter.State.DISCARDED:
        OutboxEvent.objects.filter(pk=letter.event_id, state=State.DEAD).delete()
    return found.delete()[0]


def pruned_until() -> datetime | None:
    """Return before when published events may have been removed; None if none ever were."""
    actions = OperatorAction.objects.filter(target=EVENTS, action=PRUNED)
    times = [datetime.fromisoformat(note) for note in actions.values_list("note", flat=True)]
    return max(times, default=None)


def _walk(rows: QuerySet[Model], may_go: Q, batch: int, *, dry_run: bool) -> Iterator[Chunk]:
    after = None
    while True:
        ahead = rows if after is None else rows.filter(pk__gt=after)
        keys = list(ahead.order_by("pk").values_list("pk", flat=True)[:batch])
        if not keys:
            return
        after = keys[-1]
        gone = rows.filter(pk__gte=keys[0], pk__lte=after).filter(may_go)
        removed = gone.count() if dry_run else gone.delete()[0]
        yield Chunk(upto=str(after), removed=removed)


def _before(older_than: timedelta) -> datetime:
    if older_than < SHORTEST:
        raise TooSoon(f"Nothing younger than {SHORTEST} is removed; {older_than} was asked for.")
    return timezone.now() - older_than


def first_id_at(instant: datetime) -> uuid.UUID:
    """Return the least UUIDv7 of that millisecond."""
    return uuid.UUID(int=int(instant.timestamp() * 1000) << 80)
