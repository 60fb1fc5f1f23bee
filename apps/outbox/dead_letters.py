"""Records that could not be handled: kept with their reason, sent again, or discarded.

A letter is never forgotten. It is written before its record goes to the dead-letter topic, and
only then does its reader move on; a replay marks it only after the broker has the copy, and only
if the copy has not failed meanwhile. Every step may run twice.
"""

from __future__ import annotations

import base64
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import orjson
import structlog
from confluent_kafka import KafkaError, KafkaException
from django.db.models import F, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from . import metrics, trail
from .failures import is_outage
from .models import DeadLetter, OutboxEvent
from .topics import dead_letter_topic, retry_topic
from .transactions import transactional

log = structlog.get_logger(__name__)

NAMESPACE = uuid.UUID("6f1f0a52-6c0c-4d6f-9a43-2b8f6c1d7c1e")
REPLAYED_FROM = "outbox-replayed-from"
EVENT_ID = "ce_id"
LONGEST_MESSAGE = 2000

TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})

Headers = tuple[tuple[str, bytes | None], ...]
State = DeadLetter.State
ACTIONS = {
    State.REQUESTED: "request_replay",
    State.REPLAYED: "replay",
    State.DISCARDED: "discard",
}
Stage = DeadLetter.Stage


class Refused(Exception):
    """A decision upon a letter that cannot be taken; its text tells the person why."""


class AlreadyResolved(Refused):
    """Somebody was quicker, or the letter has failed again meanwhile."""


class ReasonMissing(Refused):
    """A letter is given up only for a reason."""


class Send(Protocol):
    """Hands a record to Kafka and returns once the broker has it; raises if it does not."""

    def __call__(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, /
    ) -> None: ...


class Record(NamedTuple):
    """A Kafka record, or what would have become one: then it has no partition and offset.

    A tuple, since there are many each second.

    Args:
        headers_fault: why the headers cannot be read; there are none then.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None
    offset: int | None = None
    headers_fault: str = ""

    def header(self, name: str) -> str | None:
        """Return the header's text; None if it is absent or no text."""
        for key, value in self.headers:
            if key == name and value is not None:
                try:
                    return value.decode()
                except UnicodeDecodeError:
                    return None
        return None


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Where and why a record could not be handled.

    Args:
        stage: who could not.
        group: the consumer group, if one read it.
        kind: a word to filter by, such as not_avro or handler.
        message: for a person.
        attempts: how often it was tried.
    """

    stage: DeadLetter.Stage
    kind: str
    message: str
    first_failed_at: datetime
    last_failed_at: datetime
    attempts: int = 1
    group: str = ""


def record(rec: Record, failure: Failure, *, event_id: str = "") -> uuid.UUID:
    """Keep the record as a dead letter, once however often it is called, and return its id.

    The copy of a replayed letter opens that letter again instead of making another.
    """
    letter_id = _letter_id(rec, failure, event_id)
    # A row of the outbox is sent again itself, and carries no mark of the letter it comes from.
    replayed = letter_id if failure.stage == Stage.RELAY else _replayed_from(rec)
    if replayed is not None and _reopen(replayed, failure):
        return replayed
    DeadLetter.objects.get_or_create(
        id=letter_id,
        defaults={
            "stage": failure.stage,
            "group": failure.group,
            "topic": _home_topic(rec.topic, failure.group),
            "partition": rec.partition,
            "offset": rec.offset,
            "key": rec.key,
            "value": rec.value,
            "headers": pack_headers(rec.headers),
            "event_id": event_id,
            "error_kind": failure.kind,
            "error_message": clean(failure.message),
            "attempts": failure.attempts,
            "first_failed_at": failure.first_failed_at,
            "last_failed_at": failure.last_failed_at,
        },
    )
    return letter_id


def bury(rec: Record, failure: Failure, send: Send, *, event_id: str = "") -> uuid.UUID:
    """Keep the record as a dead letter, then send it to the dead-letter topic as it is.

    Only afterwards may the reader go past it. In the other order, a crash in between would leave
    a record on the topic that no administrator sees.
    """
    letter_id = record(rec, failure, event_id=event_id)
    topic = dead_letter_topic(_home_topic(rec.topic, failure.group), failure.group or None)
    try:
        send(topic, rec.key, rec.value, (*rec.headers, *failure_headers(rec, failure)))
    except KafkaException as exc:
        if exc.args[0].code() not in TOO_LARGE:
            raise
        # With our headers it has outgrown the broker's limit. The store has all of it.
        log.warning("dead_letter_too_large_for_its_topic", letter=str(letter_id), topic=topic)
    return letter_id


def failure_headers(rec: Record, failure: Failure) -> Headers:
    """Describe the failure: KIP-1191's names for what they cover, ours for the rest."""
    known = {
        "__dlq.errors.topic": rec.topic,
        "__dlq.errors.partition": rec.partition,
        "__dlq.errors.offset": rec.offset,
        "__dlq.errors.group": failure.group or None,
        "__dlq.errors.delivery.count": failure.attempts,
        "__dlq.errors.message": clean(failure.message),
        "outbox-error-kind": failure.kind,
        "outbox-attempts": failure.attempts,
        "outbox-first-failed-at": failure.first_failed_at.isoformat(),
        "outbox-last-failed-at": failure.last_failed_at.isoformat(),
        "outbox-stage": failure.stage.value,
    }
    return tuple((name, str(value).encode()) for name, value in known.items() if value is not None)


def recent_count(group: str, since: datetime) -> int:
    """Count the group's dead letters since then; in the store, so that a restart forgets none."""
    return DeadLetter.objects.filter(group=group, last_failed_at__gte=since).count()


def request_replay(letter_id: uuid.UUID, *, by: str, note: str = "") -> None:
    """Ask for the letter to be sent again; the service's consumer does so within a second or two.

    A letter of the relay needs no producer and is back in the queue at once.

    Raises:
        AlreadyResolved: somebody replayed or discarded it before.
    """
    letter = DeadLetter.objects.get(pk=letter_id)
    if letter.stage == Stage.RELAY:
        _requeue(letter_id, by, note)
    else:
        _resolve(letter, State.REQUESTED, by, f"replay requested: {note}" if note else "")
    log.info("dead_letter_replay_requested", letter=str(letter_id), by=by, note=note)


def replay(letter_id: uuid.UUID, send: Send, *, by: str = "", note: str = "") -> None:
    """Hand the letter's record to its reader again.

    The consumer group's own retry topic takes it, so that no other group reads it twice; a raw row
    goes back to the raw topic; a row of the outbox becomes pending.

    Raises:
        AlreadyResolved: somebody replayed or discarded it before, or its copy has failed already.
    """
    letter = DeadLetter.objects.get(pk=letter_id)
    if letter.stage == Stage.RELAY:
        _requeue(letter_id, by, note)
    else:
        if letter.state not in {State.OPEN, State.REQUESTED}:
            raise _already(letter)
        topic = (
            retry_topic(letter.topic, letter.group)
            if letter.stage == Stage.CONSUMER
            else letter.topic
        )
        send(topic, _bytes(letter.key), _bytes(letter.value), _replay_headers(letter))
        # The broker has it. Were the letter marked first, a crash here would forget it.
        _resolve(letter, State.REPLAYED, by or letter.resolved_by, note)
    metrics.redriven.labels(letter.stage).inc()
    log.info("dead_letter_replayed", letter=str(letter_id), by=by or letter.resolved_by, note=note)


def replay_requested(group: str, send: Send, limit: int = 100) -> int:
    """Send what administrators asked for, and return how many records that were."""
    requested = DeadLetter.objects.filter(
        state=State.REQUESTED, stage__in=(Stage.CONSUMER, Stage.RAW), group__in=(group, "")
    )
    sent = 0
    # In the order of their topics, and so of their keys.
    requested = requested.order_by("topic", "partition", "offset")
    for letter_id in list(requested.values_list("pk", flat=True)[:limit]):
        try:
            replay(letter_id, send)
        except AlreadyResolved:
            continue
        except KafkaException as exc:
            if is_outage(exc):
                raise
            _refuse_replay(letter_id, exc)
        else:
            sent += 1
    return sent


def discard(letter_id: uuid.UUID, *, by: str, reason: str) -> None:
    """Give the letter up for good, for a reason.

    Raises:
        ReasonMissing: the reason is blank.
        AlreadyResolved: somebody replayed or discarded it before.
    """
    if not reason.strip():
        raise ReasonMissing("Say why the dead letter may be discarded.")
    _resolve(DeadLetter.objects.get(pk=letter_id), State.DISCARDED, by, reason.strip())
    log.info("dead_letter_discarded", letter=str(letter_id), by=by, reason=reason)


def select(  # noqa: PLR0913 (what a person may look for)
    *,
    topic: str = "",
    group: str = "",
    kind: str = "",
    key: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    ids: tuple[uuid.UUID, ...] = (),
) -> QuerySet[DeadLetter]:
    """Return the undecided letters that match all of what is given, the oldest first.

    By time those are meant that failed last at `since` or later, and before `until`.
    """
    wanted: dict[str, Any] = {
        "topic": topic,
        "group": group,
        "error_kind": kind,
        "key": key.encode(),
        "last_failed_at__gte": since,
        "last_failed_at__lt": until,
    }
    letters = DeadLetter.objects.filter(
        state__in=(State.OPEN, State.REQUESTED),
        **{name: value for name, value in wanted.items() if value},
    )
    return (letters.filter(pk__in=ids) if ids else letters).order_by("first_failed_at")


def pack_headers(headers: Headers) -> str:
    """Write headers as text: a JSON array of [name, value in base64 or null]."""
    packed = [
        [name, None if value is None else base64.b64encode(value).decode()]
        for name, value in headers
    ]
    return orjson.dumps(packed).decode()


def unpack_headers(text: str) -> Headers:
    """Read what `pack_headers` wrote."""
    return tuple(
        (name, None if value is None else base64.b64decode(value))
        for name, value in orjson.loads(text)
    )


def clean(message: str) -> str:
    """Shorten a message, and drop what PostgreSQL's text or UTF-8 cannot hold."""
    text = message.encode("utf-8", "replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return text if len(text) <= LONGEST_MESSAGE else f"{text[: LONGEST_MESSAGE - 1]}…"


def id_of_unsent(event_id: uuid.UUID) -> uuid.UUID:
    """Return the id of the letter that a relay keeps of an event."""
    return _id_of_place(Stage.RELAY, "", str(event_id))


def _letter_id(rec: Record, failure: Failure, event_id: str) -> uuid.UUID:
    place = event_id if rec.offset is None else f"{rec.topic}/{rec.partition}/{rec.offset}"
    return _id_of_place(failure.stage, failure.group, place)


def _id_of_place(stage: DeadLetter.Stage, group: str, place: str) -> uuid.UUID:
    return uuid.uuid5(NAMESPACE, f"{stage.value}/{group}/{place}")


def _home_topic(topic: str, group: str) -> str:
    """Return the topic that a record of a retry topic came from."""
    return topic.removesuffix(retry_topic("", group)) if group else topic


def _replayed_from(rec: Record) -> uuid.UUID | None:
    try:
        return uuid.UUID(rec.header(REPLAYED_FROM) or "")
    except ValueError:
        return None


def _reopen(letter_id: uuid.UUID, failure: Failure) -> bool:
    """Open the letter again whose copy failed; False if there is none.

    The number of attempts grows, by which a replay that has sent the copy but not yet marked the
    letter sees that it came too late.
    """
    letters = DeadLetter.objects.filter(pk=letter_id)
    opened = letters.filter(state__in=(State.OPEN, State.REQUESTED, State.REPLAYED)).update(
        state=State.OPEN,
        resolved_at=None,
        error_kind=failure.kind,
        error_message=clean(failure.message),
        attempts=F("attempts") + failure.attempts,
        last_failed_at=failure.last_failed_at,
    )
    # A discarded letter stays so: somebody decided it while the copy was still under way.
    return bool(opened) or letters.exists()


@transactional
def _resolve(letter: DeadLetter, state: DeadLetter.State, by: str, note: str) -> None:
    """Decide upon the letter, if it is still as it was seen, and write down who did."""
    seen = DeadLetter.objects.filter(
        pk=letter.pk, state__in=_before(state), attempts=letter.attempts
    )
    changed = seen.update(
        state=state,
        resolved_at=timezone.now(),
        resolved_by=by,
        resolution=note or letter.resolution,
        replays=letter.replays + (state == State.REPLAYED),
    )
    if not changed:
        raise _already(letter)
    trail.note(by, ACTIONS[state], f"dead_letter/{letter.pk}", note)


def _before(state: DeadLetter.State) -> tuple[DeadLetter.State, ...]:
    return (State.OPEN, State.REQUESTED) if state == State.REPLAYED else (State.OPEN,)


def _already(letter: DeadLetter) -> AlreadyResolved:
    now = DeadLetter.objects.get(pk=letter.pk)
    return AlreadyResolved(
        f"Dead letter {letter.pk} is {now.get_state_display()}, by {now.resolved_by or 'nobody'}: "
        "look at it again before you decide."
    )


def _refuse_replay(letter_id: uuid.UUID, exc: KafkaException) -> None:
    """Give a letter back that the broker will never take, instead of asking it each second."""
    DeadLetter.objects.filter(pk=letter_id, state=State.REQUESTED).update(
        state=State.OPEN, resolved_at=None, resolution=clean(f"The replay was refused: {exc}")
    )
    log.error("dead_letter_replay_refused", letter=str(letter_id), error=str(exc))


@transactional
def _requeue(letter_id: uuid.UUID, by: str, note: str) -> None:
    letter = DeadLetter.objects.get(pk=letter_id)
    _resolve(letter, State.REPLAYED, by, note)
    requeued = OutboxEvent.objects.filter(pk=letter.event_id, state=OutboxEvent.State.DEAD).update(
        state=OutboxEvent.State.PENDING, attempts=0, due_at=Now(), last_error=""
    )
    if not requeued:
        # Its relay keeps the letter before it lets go of the row; the letter stays open.
        raise AlreadyResolved(f"The event of dead letter {letter_id} is not dead (yet). Try again.")


def _replay_headers(letter: DeadLetter) -> Headers:
    """Return the record's own headers, marked, and with the event id that it was given here."""
    headers = tuple(
        (name, value) for name, value in unpack_headers(letter.headers) if name != REPLAYED_FROM
    )
    if letter.event_id and all(name != EVENT_ID for name, _ in headers):
        headers += ((EVENT_ID, letter.event_id.encode()),)
    return (*headers, (REPLAYED_FROM, str(letter.pk).encode()))


def _bytes(value: bytes | memoryview | None) -> bytes | None:
    return None if value is None else bytes(value)
