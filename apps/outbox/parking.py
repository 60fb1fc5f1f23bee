"""Records put off in the group's own store, with all that follows them of the same key.

A topic cannot hold them: what waits behind a blocked key must be found by its key, kept in order,
and let go in the transaction of its effect. A row is first written, then the offset committed, so
that a crash in between parks the record again under the same id, which changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db.models import Min
from django.utils import timezone

from .burials import Burials, facts, failed, received
from .dead_letters import Failure, Record, clean, pack_headers, unpack_headers
from .failures import Poison, is_outage
from .lanes import Patience
from .models import ParkedRecord
from .reading import Place, Receiver
from .receiver import Outcome, known_event_id
from .transactions import transactional

log = structlog.get_logger(__name__)


class Removed(Exception):
    """An operator has discarded a record meanwhile, which so must not take effect."""


@dataclass(kw_only=True, slots=True)
class Blocked:
    """A key whose first record waits.

    Args:
        head: the id of the row of that record.
        due: when to try it, by the consumer's clock.
        size: how many of its records to take together.
    """

    head: str
    due: float
    size: int = 1
    outages: int = 0


class Parking:
    """The blocked keys of the partitions that this consumer reads.

    They are known in memory, loaded from the store when a partition comes, so that a record of
    another key costs nothing more. Only the owner of a partition parks and releases its records.

    Args:
        group: the consumer group.
        receiver: what lets records take effect.
        burials: what makes dead letters.
        patience: how long and how often to try.
        batch: how many records to release together at the most.
        clock: seconds that only grow.
    """

    def __init__(  # noqa: PLR0913 (its collaborators)
        self,
        group: str,
        receiver: Receiver,
        burials: Burials,
        patience: Patience,
        *,
        batch: int,
        clock: Callable[[], float],
    ) -> None:
        self._group = group
        self._receiver = receiver
        self._burials = burials
        self._patience = patience
        self._batch = batch
        self._clock = clock
        self._blocked: dict[Place, dict[str, Blocked]] = {}

    def take(self, place: Place) -> None:
        """Learn which keys of the partition are blocked, unless that is known."""
        if place not in self._blocked:
            self._blocked[place] = self._load(place)

    def forget(self, place: Place) -> None:
        """Let the partition go to whoever reads it now."""
        self._blocked.pop(place, None)

    def is_blocked(self, record: Record) -> bool:
        blocked = self._blocked.get(_place(record))
        # The hash is only made where there is something to look for.
        return _key_hash(record) in blocked if blocked else False

    def next_due(self) -> float | None:
        """Return when the next head is to be tried, by the clock."""
        dues = (each.due for blocked in self._blocked.values() for each in blocked.values())
        return min(dues, default=None)

    def park(self, record: Record, failure: Failure, delay: int) -> None:
        """Put off a record that failed; from now on those of its key wait behind it."""
        row = self._row(record, failure.last_failed_at + timedelta(seconds=delay))
        row.attempts = failure.attempts
        row.error_kind, row.error_message = failure.kind, clean(failure.message)
        row.first_failed_at = failure.first_failed_at
        self._insert([row])
        self._blocked.setdefault(_place(record), {})[row.key_hash] = Blocked(
            head=row.pk, due=self._clock() + delay
        )

    def park_behind(self, records: Sequence[Record]) -> None:
        """Park records, in order, of which `is_blocked` is true."""
        now = timezone.now()
        self._insert([self._row(record, now) for record in records])

    def refresh(self) -> None:
        """Take note of what an operator did to the heads: tried at once, or discarded."""
        heads = {
            each.head: (place, each)
            for place, blocked in self._blocked.items()
            for each in blocked.values()
        }
        if not heads:
            return
        rows = ParkedRecord.objects.filter(pk__in=heads)
        dues = dict(rows.values_list("pk", "due_at"))
        for pk, (place, each) in heads.items():
            if pk not in dues:
                self._blocked[place] = self._load(place)
            elif not each.outages:
                each.due = self._when(dues[pk])

    def work(self) -> bool:
        """Try the head that is due first, and what follows it; say whether there was one.

        Raises:
            DlqLimit: too many records became dead letters.
        """
        now = self._clock()
        due = [
            (each.due, place, key_hash)
            for place, blocked in self._blocked.items()
            for key_hash, each in blocked.items()
            if each.due <= now
        ]
        if not due:
            return False
        _, place, key_hash = min(due)
        blocked = self._blocked[place][key_hash]
        try:
            self._release(place, key_hash, blocked)
        except Exception as exc:
            if not is_outage(exc):
                raise
            blocked.outages += 1
            delay = self._patience.after_outage(blocked.outages)
            blocked.due = self._clock() + delay
            log.warning("parked_record_waits", head=blocked.head, error=repr(exc), delay=delay)
        return True

    def _release(self, place: Place, key_hash: str, blocked: Blocked) -> None:
        rows = list(self._rows(place).filter(key_hash=key_hash).order_by("offset")[: blocked.size])
        if not rows:
            del self._blocked[place][key_hash]
            log.info("key_released", group=self._group, topic=place[0], partition=place[1])
            return
        blocked.head = rows[0].pk
        if rows[0].due_at > timezone.now():
            blocked.due = self._when(rows[0].due_at)
            return
        records = [_record(row) for row in rows]
        try:
            outcomes = self._receiver.receive_all(records, lambda count: _take(rows[:count]))
        except Removed:
            self._blocked[place] = self._load(place)
            return
        except Exception as exc:
            if is_outage(exc):
                raise
            self._put_off(blocked, rows[0], records[0], exc)
            return
        for record, outcome in zip(records, outcomes, strict=False):
            received(self._group, record, outcome, was_parked=True)
        is_all = len(outcomes) == len(rows)
        blocked.size = min(self._batch, 2 * blocked.size) if is_all else len(outcomes)
        blocked.outages = 0

    def _put_off(self, blocked: Blocked, row: ParkedRecord, record: Record, exc: Exception) -> None:
        failure = failed(
            self._group, exc, attempts=row.attempts + 1, first_failed_at=row.first_failed_at
        )
        delay = None if isinstance(exc, Poison) else self._patience.put_off(failure)
        blocked.size, blocked.outages = 1, 0
        if delay is None:
            # The key goes on without it: to stop it for good would be for a person to decide.
            self._burials.bury(record, failure)
            _remove([row])
            received(self._group, record, Outcome.DEAD, was_parked=True)
            return
        due_at = failure.last_failed_at + timedelta(seconds=delay)
        ParkedRecord.objects.filter(pk=row.pk).update(
            attempts=failure.attempts,
            due_at=due_at,
            error_kind=failure.kind,
            error_message=clean(failure.message),
            first_failed_at=failure.first_failed_at,
        )
        blocked.due = self._when(due_at)
        log.warning(
            "message_failed",
            attempt=failure.attempts,
            delay=delay,
            error=failure.message,
            **facts(self._group, record),
        )

    def _load(self, place: Place) -> dict[str, Blocked]:
        """Return the blocked keys of a partition; each head's row says when it is due."""
        firsts = self._rows(place).values("key_hash").annotate(first=Min("offset"))
        now = self._clock()
        return {
            each["key_hash"]: Blocked(head=self._id(*place, each["first"]), due=now)
            for each in firsts
        }

    def _rows(self, place: Place) -> Any:  # noqa: ANN401 (a QuerySet, whose stub is generic)
        return ParkedRecord.objects.filter(group=self._group, topic=place[0], partition=place[1])

    def _id(self, topic: str, partition: int, offset: int) -> str:
        return f"{self._group}/{topic}/{partition}/{offset}"

    def _row(self, record: Record, due_at: datetime) -> ParkedRecord:
        topic, partition = _place(record)
        offset = record.offset or 0
        return ParkedRecord(
            id=self._id(topic, partition, offset),
            group=self._group,
            topic=topic,
            partition=partition,
            offset=offset,
            key=record.key,
            key_hash=_key_hash(record),
            value=record.value,
            headers=pack_headers(record.headers),
            event_id=known_event_id(record),
            due_at=due_at,
            parked_at=timezone.now(),
        )

    def _insert(self, rows: list[ParkedRecord]) -> None:
        known = set(
            ParkedRecord.objects.filter(pk__in=[row.pk for row in rows]).values_list(
                "pk", flat=True
            )
        )
        _insert_all([row for row in rows if row.pk not in known])

    def _when(self, due_at: datetime) -> float:
        return self._clock() + (due_at - timezone.now()).total_seconds()


@transactional
def _insert_all(rows: list[ParkedRecord]) -> None:
    ParkedRecord.objects.bulk_create(rows)


def _take(rows: Sequence[ParkedRecord]) -> None:
    """Remove records in the transaction of their effect; raises Removed if one is gone."""
    if _remove(rows) < len(rows):
        raise Removed


def _remove(rows: Sequence[ParkedRecord]) -> int:
    count, _ = ParkedRecord.objects.filter(pk__in=[row.pk for row in rows]).delete()
    return count


def _record(row: ParkedRecord) -> Record:
    return Record(
        topic=row.topic,
        partition=row.partition,
        offset=row.offset,
        key=None if row.key is None else bytes(row.key),
        value=None if row.value is None else bytes(row.value),
        headers=unpack_headers(row.headers),
    )


def _place(record: Record) -> Place:
    return record.topic, record.partition or 0


def _key_hash(record: Record) -> str:
    """Return the hash of the key; a record without one has only itself to wait for."""
    key = record.key
    if key is None:
        key = f"{record.topic}/{record.partition}/{record.offset}".encode()
    return hashlib.blake2b(key, digest_size=16).hexdigest()
