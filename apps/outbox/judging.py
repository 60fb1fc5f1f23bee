"""What to do with rows: which may be sent now, and what became of those that were."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
from confluent_kafka import KafkaError, KafkaException
from django.utils import timezone

from . import dead_letters, metrics
from .codec import Codec
from .conf import settings
from .context import correlation_id
from .dead_letters import Failure, Record, Send, Stage
from .failures import ErrorKind, Poison
from .kafka import Results
from .records import Row, build_record, unbuildable
from .stores import Delay, Settlement
from .worker import spread

log = structlog.get_logger(__name__)

FIRST_DELAY_SECONDS = 0.4
LONGEST_ROW_DELAY_SECONDS = 60.0
# An operator acts long before; what was mended without a word goes on by itself.
BLOCKED_DELAY_SECONDS = 3600.0
# Latency is observed of so many rows of a batch: each one would cost as much as its headers.
OBSERVED_ROWS = 50
# The record's own fault: no broker will ever take it.
REFUSED_FOR_GOOD = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError.INVALID_RECORD,
    }
)
UNKNOWN_TOPIC = frozenset(
    {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}  # noqa: SLF001
)

Place = tuple[str, str]


@dataclass(kw_only=True)
class Plan:
    """A batch: of each key an unbroken run from its first row on.

    Args:
        rows: those to send.
        records: theirs.
        poison: rows at the heads of their keys that cannot be sent, and why.
        repeated: rows whose records are on their topics already.
        blocked: the keys that must wait.
    """

    rows: list[Row] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    poison: list[tuple[Row, Poison]] = field(default_factory=list)
    repeated: list[Row] = field(default_factory=list)
    blocked: set[Place] = field(default_factory=set)
    has_early: bool = False

    def without(self, stuck: set[Place]) -> Plan:
        """Leave out the keys of which an earlier row was not sent after all."""
        kept = [i for i, row in enumerate(self.rows) if row.place not in stuck]
        return Plan(rows=[self.rows[i] for i in kept], records=[self.records[i] for i in kept])


class Judge:
    """Decides about rows, and keeps the dead letters of those that can never be sent.

    Args:
        codec: encodes the payloads.
        send_one: hands a dead letter to Kafka.
    """

    def __init__(self, codec: Codec, send_one: Callable[[], Send]) -> None:
        self._codec = codec
        self._send_one = send_one
        self._blocking = {
            topic.name for topic in settings.OUTBOX_TOPICS if topic.on_poison == "block"
        }

    def plan(self, rows: Sequence[Row], stuck: set[Place], sent: set[uuid.UUID]) -> Plan:
        """Choose what may be sent now.

        Args:
            rows: as they were read.
            stuck: keys that must wait.
            sent: what is known to be on the topics.
        """
        plan = Plan()
        source = settings.OUTBOX_SOURCE.encode()
        begun: set[Place] = set()
        for row in rows:
            place = (row.topic, row.key)
            if place in stuck or place in plan.blocked:
                plan.blocked.add(place)
                continue
            if row.is_early:
                plan.blocked.add(place)
                plan.has_early = True
                continue
            if sent and row.event_id in sent:
                plan.repeated.append(row)
                continue
            try:
                record = build_record(row, self._codec, source)
            except Poison as exc:
                if place in begun:
                    # Not before what precedes it has been acknowledged.
                    plan.blocked.add(place)
                else:
                    plan.poison.append((row, exc))
                continue
            plan.rows.append(row)
            plan.records.append(record)
            begun.add(place)
        return plan

    def judge(
        self, rows: Sequence[Row], records: Sequence[Record], results: Results, stuck: set[Place]
    ) -> Settlement:
        """Say what becomes of rows that were sent; keys that must wait are added to `stuck`."""
        settlement = Settlement()
        if any(results):
            arrived: Sequence[Row] = self._judge_failures(rows, records, results, stuck, settlement)
        else:
            arrived = rows
        settlement.published += [row.event_id for row in arrived]
        _count(arrived, "published")
        _observe(arrived)
        return settlement

    def bury(self, row: Row, record: Record | None, reason: Poison) -> Settlement:
        """Do what the topic's policy says about a row that can never be sent.

        By default it becomes a dead letter, so that its key goes on. If even that has to wait, or
        the topic's keys are to stand still, it is delayed.
        """
        if row.topic in self._blocking:
            return self._delay(row, str(reason), ErrorKind.POISON, BLOCKED_DELAY_SECONDS)
        now = timezone.now()
        failure = Failure(
            stage=Stage.RELAY,
            kind=reason.kind,
            message=str(reason),
            attempts=row.attempts + 1,
            first_failed_at=now,
            last_failed_at=now,
        )
        try:
            dead_letters.bury(
                record or unbuildable(row), failure, self._send_one(), event_id=str(row.event_id)
            )
        except KafkaException as exc:
            if exc.args[0].code() not in UNKNOWN_TOPIC:
                raise
            error = f"{reason}; and it has no dead-letter topic"
            return self._delay(row, error, ErrorKind.POISON)
        log.error("event_dead_lettered", reason=str(reason), kind=reason.kind, **_facts(row))
        _count([row], "dead", ErrorKind.POISON)
        return Settlement(dead=[(row.event_id, dead_letters.clean(str(reason)))])

    def repeated(self, rows: Sequence[Row]) -> Settlement:
        """Take note of rows whose records are on their topics already."""
        _count(rows, "repeated")
        log.info("events_found_on_their_topics", count=len(rows))
        return Settlement(published=[row.event_id for row in rows])

    def _judge_failures(
        self,
        rows: Sequence[Row],
        records: Sequence[Record],
        results: Results,
        stuck: set[Place],
        settlement: Settlement,
    ) -> Sequence[Row]:
        arrived: list[Row] = []
        failed: set[Place] = set()
        for row, record, error in zip(rows, records, results, strict=True):
            if row.place in failed:
                continue
            if error is None:
                arrived.append(row)
                continue
            failed.add(row.place)
            message = f"{error.name()}: {error.str()}"
            if error.code() in REFUSED_FOR_GOOD:
                settlement.add(self.bury(row, record, Poison("refused_by_broker", message)))
            else:
                settlement.add(self._delay(row, message, ErrorKind.RETRIABLE))
        stuck |= failed
        return arrived

    def _delay(
        self, row: Row, error: str, kind: ErrorKind, longest: float = LONGEST_ROW_DELAY_SECONDS
    ) -> Settlement:
        """Let the row, and with it its key, wait for another try."""
        first = longest if longest > LONGEST_ROW_DELAY_SECONDS else FIRST_DELAY_SECONDS
        seconds = spread(first, row.attempts + 1, longest)
        log.warning("event_delayed", error=error, error_kind=kind, seconds=seconds, **_facts(row))
        _count([row], "delayed", kind)
        delay = Delay(event_id=row.event_id, seconds=seconds, error=dead_letters.clean(error))
        return Settlement(delayed=[delay])


def _count(rows: Sequence[Row], outcome: str, kind: ErrorKind | None = None) -> None:
    for topic, count in Counter([row.topic for row in rows]).items():
        metrics.published.labels(topic, outcome, kind or "").inc(count)


def _observe(rows: Sequence[Row]) -> None:
    now = timezone.now()
    for row in rows[:: len(rows) // OBSERVED_ROWS + 1]:
        age = (now - row.occurred_at).total_seconds()
        metrics.publish_latency.labels(row.topic).observe(max(0.0, age))


def _facts(row: Row) -> dict[str, object]:
    return {
        "event_id": str(row.event_id),
        "correlation_id": correlation_id(row.headers),
        "type": row.type,
        "topic": row.topic,
        "key": row.key,
        "version": row.version,
        "attempts": row.attempts,
    }
