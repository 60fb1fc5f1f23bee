"""How sending and receiving stand, for a terminal, the admin and the gauges of Prometheus.

Everything here is read by the indexes of what waits, which hold no published row: its cost grows
with what is wrong, and not with the years that went well.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from confluent_kafka import KafkaException
from django.db import connection
from django.db.models import Count, F, Min, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.module_loading import import_string

from . import kafka, metrics, offsets, slot_guard
from .conf import settings
from .failures import is_outage
from .models import (
    DeadLetter,
    OutboxEvent,
    ParkedRecord,
    RelayMember,
    RelaySlot,
)
from .slot_guard import SlotReport
from .topics import retry_topic

MOST_BLOCKED = 1000
# MongoDB takes a partial index only for a query on its first column.
WAITING: dict[str, Any] = {"state": OutboxEvent.State.PENDING, "slot__gte": 0}
BLOCKED: dict[str, Any] = {"state": OutboxEvent.State.PENDING, "attempts__gt": 0}
DEAD: dict[str, Any] = {"state": OutboxEvent.State.DEAD, "attempts__gt": 0}
UNDECIDED = (DeadLetter.State.OPEN, DeadLetter.State.REQUESTED)


@dataclass(frozen=True, kw_only=True)
class Queue:
    """What waits for a relay.

    Args:
        blocked: keys whose first row was refused and will be tried again.
    """

    pending: int
    oldest_at: datetime | None
    blocked: int


@dataclass(frozen=True, kw_only=True)
class TopicRows:
    """What waits for a relay, and what it has given up, of one topic."""

    topic: str
    pending: int = 0
    oldest_at: datetime | None = None
    blocked: int = 0
    dead: int = 0


@dataclass(frozen=True, kw_only=True)
class BlockedKey:
    """A key whose first row could not be sent yet.

    Args:
        waiting: rows of that key that wait, with the first one.
    """

    topic: str
    key: str
    event_id: str
    type: str
    version: int
    attempts: int
    due_at: datetime
    waiting: int
    error: str


@dataclass(frozen=True, kw_only=True)
class Relay:
    owner: str
    started_at: datetime
    is_alive: bool
    slots: int


@dataclass(frozen=True, kw_only=True)
class Parked:
    """Records that a group keeps beside its topics: those that failed, and those behind them."""

    group: str
    topic: str
    records: int
    failed: int
    due_at: datetime


@dataclass(frozen=True, kw_only=True)
class Letters:
    stage: str
    topic: str
    group: str
    kind: str
    state: str
    count: int
    oldest_at: datetime


@dataclass(frozen=True, kw_only=True)
class Lag:
    """How far a group is behind the end of a topic, in records."""

    group: str
    topic: str
    behind: int


@dataclass(frozen=True, kw_only=True)
class Status:
    """All of it, at one moment.

    Args:
        rows: about how many the outbox holds, sent ones included; None where nobody has counted.
        kafka_fault: why nothing is known of Kafka; empty while it answers.
    """

    service: str
    transport: str
    at: datetime
    rows: int | None
    queue: Queue
    topics: tuple[TopicRows, ...]
    blocked: tuple[BlockedKey, ...]
    relays: tuple[Relay, ...]
    parked: tuple[Parked, ...]
    letters: tuple[Letters, ...]
    slot: SlotReport | None
    lags: tuple[Lag, ...]
    kafka_fault: str

    @property
    def oldest_age(self) -> float:
        """Seconds for which the oldest row has waited."""
        oldest = self.queue.oldest_at
        return max(0.0, (self.at - oldest).total_seconds()) if oldest else 0.0

    @property
    def slot_fault(self) -> str:
        return self.slot.fault if self.slot else ""

    @property
    def dead(self) -> int:
        """Dead letters that nobody has decided upon."""
        return sum(letters.count for letters in self.letters)


def collect(*, with_kafka: bool = True) -> Status:
    """Look at the service's store and, if wanted, at Kafka, whose absence is only noted.

    Args:
        with_kafka: without it, no other server than the store is asked.
    """
    lags, fault = consumer_lag() if with_kafka else ((), "")
    of_topics = topics()
    return Status(
        service=settings.SERVICE_NAME,
        transport=settings.OUTBOX_TRANSPORT,
        at=timezone.now(),
        rows=estimated_rows(),
        queue=_total(of_topics),
        topics=tuple(of_topics),
        blocked=tuple(blocked_keys(MOST_BLOCKED)),
        relays=tuple(relays()),
        parked=tuple(parked()),
        letters=tuple(letters()),
        slot=slot_guard.observe()
        if with_kafka
        else slot_guard.observe(connect_offset=lambda: None),
        lags=lags,
        kafka_fault=fault,
    )


def set_gauges() -> None:
    """Tell Prometheus how the store stands."""
    now_waiting = queue()
    age = timezone.now() - now_waiting.oldest_at if now_waiting.oldest_at else None
    metrics.pending.set(now_waiting.pending)
    metrics.oldest_pending_age.set(max(0.0, age.total_seconds()) if age else 0.0)
    metrics.keys_blocked.set(now_waiting.blocked)
    depths = {stage.value: 0 for stage in DeadLetter.Stage}
    for each in letters():
        depths[each.stage] += each.count
    for stage, depth in depths.items():
        metrics.dlq_depth.labels(stage).set(depth)
    if settings.STORE_GAUGES:
        import_string(settings.STORE_GAUGES)()


def waiting_rows() -> QuerySet[OutboxEvent]:
    """Return the rows that wait for a relay, found by the index that holds no others."""
    return OutboxEvent.objects.filter(**WAITING)


def blocked_rows() -> QuerySet[OutboxEvent]:
    """Return the rows that were refused and wait for another try: the first ones of their keys."""
    return OutboxEvent.objects.filter(**BLOCKED)


def queue() -> Queue:
    return _total(_waiting())


def topics() -> list[TopicRows]:
    """Return each topic with rows that wait or were given up."""
    found = {each.topic: each for each in _waiting()}
    dead = OutboxEvent.objects.filter(**DEAD).values("topic").annotate(dead=Count("pk"))
    for each in dead:
        rows = found.get(each["topic"], TopicRows(topic=each["topic"]))
        found[rows.topic] = dataclasses.replace(rows, dead=each["dead"])
    return [found[topic] for topic in sorted(found)]


def estimated_rows() -> int | None:
    """Say about how many rows the outbox holds: to count them would read them all."""
    conn: Any = connection
    table = OutboxEvent._meta.db_table  # noqa: SLF001 (Django's documented way)
    if conn.vendor == "mongodb":
        return int(conn.get_collection(table).estimated_document_count())
    with conn.cursor() as cursor:
        cursor.execute("SELECT reltuples FROM pg_class WHERE oid = to_regclass(%s)", [table])
        [rows] = cursor.fetchone()
    return int(rows) if rows >= 0 else None


def _waiting() -> list[TopicRows]:
    found = (
        waiting_rows()
        .values("topic")
        .annotate(
            pending=Count("pk"),
            oldest_at=Min("occurred_at"),
            blocked=Count("pk", filter=Q(attempts__gt=0)),
        )
        .order_by("topic")
    )
    return [TopicRows(**each) for each in found]


def _total(found: Sequence[TopicRows]) -> Queue:
    return Queue(
        pending=sum(each.pending for each in found),
        oldest_at=min((each.oldest_at for each in found if each.oldest_at), default=None),
        blocked=sum(each.blocked for each in found),
    )


def blocked_keys(limit: int) -> list[BlockedKey]:
    """Return the keys that wait for their first row, those that have waited longest first."""
    heads = list(blocked_rows().order_by("occurred_at")[:limit])
    behind = (
        waiting_rows()
        .filter(
            slot__in={row.slot for row in heads},
            aggregate_id__in={row.aggregate_id for row in heads},
        )
        .values("topic", "key")
        .annotate(waiting=Count("pk"))
    )
    waiting = {(each["topic"], each["key"]): each["waiting"] for each in behind} if heads else {}
    return [
        BlockedKey(
            topic=row.topic,
            key=row.key,
            event_id=str(row.pk),
            type=row.type,
            version=row.version,
            attempts=row.attempts,
            due_at=row.due_at,
            waiting=waiting.get((row.topic, row.key), 1),
            error=row.last_error,
        )
        for row in heads
    ]


def relays() -> list[Relay]:
    alive = set(RelayMember.objects.filter(expires_at__gt=Now()).values_list("pk", flat=True))
    slots = {
        each["owner"]: each["slots"]
        for each in RelaySlot.objects.values("owner").annotate(slots=Count("pk"))
    }
    return [
        Relay(
            owner=member.owner,
            started_at=member.started_at,
            is_alive=member.owner in alive,
            slots=slots.get(member.owner, 0),
        )
        for member in RelayMember.objects.order_by("owner")
    ]


def parked() -> list[Parked]:
    found = (
        ParkedRecord.objects.values("group", "topic")
        .annotate(
            records=Count("pk"),
            failed=Count("pk", filter=~Q(error_message="")),
            due_at=Min("due_at"),
        )
        .order_by("group", "topic")
    )
    return [Parked(**each) for each in found]


def letters() -> list[Letters]:
    """Count the dead letters that nobody has decided upon, or that wait to be sent again."""
    found = (
        DeadLetter.objects.filter(state__in=UNDECIDED)
        .values("stage", "topic", "group", "state", kind=F("error_kind"))
        .annotate(count=Count("pk"), oldest_at=Min("first_failed_at"))
        .order_by("stage", "topic", "group", "kind", "state")
    )
    return [Letters(**each) for each in found]


def consumer_lag() -> tuple[tuple[Lag, ...], str]:
    """Return how far this service's groups are behind, or why Kafka does not tell."""
    lags: list[Lag] = []
    try:
        for group, topics in _subscriptions().items():
            lags += _lags(group, topics)
    except KafkaException as exc:
        if not is_outage(exc):
            raise
        return (), str(exc.args[0])
    return tuple(lags), ""


def _subscriptions() -> dict[str, tuple[str, ...]]:
    groups: dict[str, tuple[str, ...]] = {}
    if settings.CONSUMER_GROUP:
        groups[settings.CONSUMER_GROUP] = settings.OUTBOX_CONSUMERS[settings.CONSUMER_GROUP]
    if settings.OUTBOX_TRANSPORT == "debezium":
        raw = settings.OUTBOX_RAW_TOPIC
        groups[f"{raw}.worker"] = (raw,)
    return groups


def _lags(group: str, topics: tuple[str, ...]) -> list[Lag]:
    """Compare the ends of the topics, and of their retry tiers, with what the group committed."""
    admin = kafka.admin()  # it must live until the answers are there
    tiers = tuple(retry_topic(topic, group) for topic in topics)
    known = admin.list_topics(timeout=offsets.KAFKA_SECONDS).topics
    places = [
        (name, number)
        for name in sorted(known)
        if name in topics or name.startswith(tiers)
        for number in known[name].partitions
    ]
    begins, committed = offsets.begins(admin, places), offsets.committed(admin, group)
    behind = Counter(dict.fromkeys(topics, 0))
    for place, end in offsets.ends(admin, places).items():
        behind[place[0]] += end - max(begins[place], committed.get(place, 0))
    return [Lag(group=group, topic=topic, behind=count) for topic, count in sorted(behind.items())]
