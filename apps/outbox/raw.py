"""The raw worker: outbox rows as Debezium read them become the records that a relay would send.

It reads the raw topic, which is keyed and ordered as the topics it feeds, and commits its offsets
after the brokers' acknowledgement: a crash loses no record. It repeats few: what Debezium sends
again, and what a worker sent and did not commit before it died, is known by the event's id, as
far back as `recent` remembers.

Rows of the state `pending` are a relay's, unless the relay's time is over (see switching): then
they are sent from here, in their place.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, cast

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from django.db import close_old_connections
from django.utils import timezone

from . import dead_letters, kafka, metrics, monitoring, slot_guard, takeover, tracing
from .codec import Codec
from .conf import settings
from .context import correlation_id
from .dead_letters import Failure, Headers, Record, Stage
from .failures import Poison, Unavailable, is_outage
from .judging import OBSERVED_ROWS
from .models import OutboxEvent
from .provisioning import RAW
from .raw_rows import columns_of, record_of
from .reading import to_record
from .receiver import LONGEST_EVENT_ID
from .recent import Recent, ids_at_the_tail
from .registry import Registry
from .relay import FIRST_DELAY_SECONDS, REFUSED_FOR_GOOD, Outbound
from .topics import dead_letter_topic
from .worker import liveness, spread

log = structlog.get_logger(__name__)

BATCH = 5_000
POLL_SECONDS = 1.0
CHORE_SECONDS = 10.0
LONGEST_OUTAGE_DELAY_SECONDS = 3.0
CLIENT_OPTIONS: dict[str, Any] = {
    "queued.min.messages": 4 * BATCH,
    # How soon a topic is seen that was made after the worker.
    "topic.metadata.refresh.interval.ms": 10_000,
}
PENDING = OutboxEvent.State.PENDING.value.encode()


class SlotFault(Unavailable):
    """The replication slot was lost or made anew: rows may be missing that come before these."""


class Client(Protocol):
    """What is used of confluent_kafka.Consumer."""

    def subscribe(self, topics: list[str], /, **callbacks: Callable[..., None]) -> None: ...
    def poll(self, timeout: float, /) -> Message | None: ...
    def consume(self, num_messages: int, timeout: float) -> list[Message]: ...
    def seek(self, partition: TopicPartition, /) -> None: ...
    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> Any: ...  # noqa: ANN401
    def close(self) -> None: ...


@dataclass(kw_only=True, slots=True)
class Plan:
    """What is to become of a batch of raw records."""

    messages: list[Message]
    records: list[Record]
    event_ids: list[bytes]
    poison: list[tuple[Message, Poison]]


class RawWorker:
    """Turns the rows of one raw topic into records of their topics.

    Args:
        raw_topic: what Debezium writes.
        topics: where rows may go.
        client: a Kafka consumer that commits nothing by itself.
        codec: encodes the payloads.
        sender: hands records to Kafka.
        take_over: returns which of these events, written for a relay, are to be sent from here.
        guard: returns the replication slot's fault, or nothing.
        alive: called with each round of the loop.
        tail: returns the ids of the last events of these topics.
        clock: seconds that only grow.
    """

    def __init__(  # noqa: PLR0913 (collaborators, all named)
        self,
        *,
        raw_topic: str,
        topics: frozenset[str],
        client: Client,
        codec: Codec,
        sender: Outbound,
        take_over: Callable[[list[bytes]], set[bytes]] = lambda _: set(),
        guard: Callable[[], str] = lambda: "",
        alive: Callable[[], None] = lambda: None,
        tail: Callable[[Iterable[str]], list[bytes]] = ids_at_the_tail,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._raw_topic = raw_topic
        self._names = {topic.encode(): topic for topic in topics}
        self._client = client
        self._codec = codec
        self._sender = sender
        self._take_over = take_over
        self._guard = guard
        self._alive = alive
        self._tail = tail
        self._clock = clock
        self._stopping = threading.Event()
        self._outages = 0
        self._is_joined = False
        self._fault = ""
        self._guarded_at = float("-inf")
        self._recent = Recent()
        self._recalled: set[str] = set()
        self._done: dict[tuple[str, int], int] = {}

    def run(self) -> None:
        """Work until `stop` is called.

        Raises:
            Exception: something is wrong that waiting does not mend.
        """
        self.subscribe()
        try:
            while not self._stopping.is_set():
                self.run_once()
        finally:
            self.close()

    def subscribe(self) -> None:
        self._client.subscribe(
            [self._raw_topic], on_assign=self._on_assign, on_revoke=self._on_revoke
        )
        log.info("raw_worker_started", topic=self._raw_topic)

    def close(self) -> None:
        """Leave the group; what is not committed is read again by the next."""
        self._commit(asynchronous=False)
        self._client.close()
        self._sender.close()
        self._codec.close()
        log.info("raw_worker_stopped", topic=self._raw_topic)

    def stop(self) -> None:
        """End the loop after the batch in hand."""
        self._stopping.set()

    def run_once(self) -> bool:
        """Take at most one batch from the raw topic, and say whether there was one.

        Raises:
            Exception: something is wrong that waiting does not mend.
        """
        self._alive()
        close_old_connections()
        self._watch_the_slot()
        messages = [message for message in self._take() if _is_record(message)]
        if not messages:
            if self._is_joined and not self._outages:
                monitoring.well()
            return False
        try:
            self._work(messages)
        except Exception as exc:
            if not is_outage(exc):
                raise
            self._go_back(messages, exc)
        else:
            self._outages = 0
            monitoring.well()
            for message in messages:
                self._done[_place(message)] = (message.offset() or 0) + 1
            self._commit(asynchronous=True)
        return True

    def _take(self) -> list[Message]:
        """Wait for one message, and take along what is there: `consume` alone waits for a batch."""
        first = self._client.poll(POLL_SECONDS)
        return [] if first is None else [first, *self._client.consume(BATCH - 1, 0)]

    def _watch_the_slot(self) -> None:
        """Look at the replication slot now and then: a chore that needs no process of its own."""
        if self._clock() < self._guarded_at + CHORE_SECONDS:
            return
        self._guarded_at = self._clock()
        try:
            self._fault = self._guard()
        except Exception as exc:
            if not is_outage(exc):
                raise
            log.warning("replication_slot_not_seen", error=str(exc))

    def _work(self, messages: list[Message]) -> None:
        if self._fault:
            raise SlotFault(f"{self._fault} See: manage.py guard_slot")
        plan = self._plan(messages)
        for message, reason in plan.poison:
            self._bury(to_record(message), reason)
        sources, records = plan.messages, plan.records
        began = time.time_ns()
        while records:
            results = self._sender.send(records, waiting=self._alive)
            sources, records = self._judge(sources, records, results)
        self._recent.add(plan.event_ids)
        _count(plan.records)
        _observe(plan.records)
        tracing.sent(plan.records, began)

    def _plan(self, messages: list[Message]) -> Plan:
        plan = Plan(messages=[], records=[], event_ids=[], poison=[])
        seen: set[bytes] = set()
        topics, source = self._names, settings.OUTBOX_SOURCE.encode()
        for message, columns in self._ours(messages, plan):
            try:
                event_id = columns.get("id") or b""
                if event_id in seen or self._was_sent(event_id, columns):
                    continue
                record = record_of(
                    message, columns, topics=topics, source=source, codec=self._codec
                )
            except Poison as exc:
                plan.poison.append((message, exc))
                continue
            seen.add(event_id)
            plan.messages.append(message)
            plan.records.append(record)
            plan.event_ids.append(event_id)
        return plan

    def _ours(self, messages: list[Message], plan: Plan) -> list[tuple[Message, dict[str, bytes]]]:
        """Leave out what a relay sends."""
        rows = []
        relays = []
        for message in messages:
            try:
                columns = columns_of(message)
            except Poison as exc:
                plan.poison.append((message, exc))
                continue
            rows.append((message, columns))
            if columns.get("state") == PENDING:
                relays.append(columns.get("id", b""))
        if not relays:
            return rows
        taken = self._take_over(relays)
        return [
            (message, columns)
            for message, columns in rows
            if columns.get("state") != PENDING or columns.get("id") in taken
        ]

    def _was_sent(self, event_id: bytes, columns: dict[str, bytes]) -> bool:
        topic = self._names.get(columns.get("topic", b""))
        if topic is None:
            return False
        if topic not in self._recalled:
            self._recent.add(self._tail([topic]))
            self._recalled.add(topic)
        if event_id not in self._recent:
            return False
        metrics.published.labels(topic, "repeated", "").inc()
        return True

    def _judge(
        self, sources: Sequence[Message], records: Sequence[Record], results: kafka.Results
    ) -> tuple[list[Message], list[Record]]:
        """Bury what is refused for good, and return what is to be sent again behind it."""
        refused: set[tuple[str, bytes | None]] = set()
        again: tuple[list[Message], list[Record]] = [], []
        for message, record, error in zip(sources, records, results, strict=True):
            if error is None:
                continue
            if error.code() not in REFUSED_FOR_GOOD:
                raise KafkaException(error)
            place = (record.topic, record.key)
            if place in refused:
                again[0].append(message)
                again[1].append(record)
            else:
                refused.add(place)
                reason = Poison("refused_by_broker", f"{error.name()}: {error.str()}")
                self._bury(to_record(message), reason)
        return again

    def _bury(self, raw: Record, reason: Poison) -> None:
        now = timezone.now()
        failure = Failure(
            stage=Stage.RAW,
            kind=reason.kind,
            message=str(reason),
            first_failed_at=now,
            last_failed_at=now,
        )
        target = dead_letter_topic(self._raw_topic.removesuffix(RAW))

        def send(_: str, key: bytes | None, value: bytes | None, headers: Headers, /) -> None:
            self._sender.send_one(target, key, value, headers)

        event_id = dead_letters.clean(raw.header("id") or "")[:LONGEST_EVENT_ID]
        dead_letters.bury(raw, failure, send, event_id=event_id)
        metrics.published.labels(self._raw_topic, "dead", reason.kind).inc()
        log.error(
            "raw_row_dead_lettered",
            reason=str(reason),
            kind=reason.kind,
            event_id=event_id,
            type=raw.header("type"),
            topic=raw.header("topic"),
            key=(raw.key or b"").decode("utf-8", "replace"),
            correlation_id=correlation_id(raw.header("headers") or ""),
            partition=raw.partition,
            offset=raw.offset,
        )

    def _go_back(self, messages: Sequence[Message], exc: Exception) -> None:
        """Read the batch again after a while; no offset was committed."""
        self._outages += 1
        monitoring.outage("raw", exc)
        delay = spread(FIRST_DELAY_SECONDS, self._outages, LONGEST_OUTAGE_DELAY_SECONDS)
        say = log.error if isinstance(exc, SlotFault) else log.warning
        say("raw_worker_waits", error=str(exc), times=self._outages, delay=delay)
        first: dict[tuple[str, int], int] = {}
        for message in messages:
            first.setdefault(_place(message), message.offset() or 0)
        for (topic, partition), offset in first.items():
            try:
                self._client.seek(TopicPartition(topic, partition, offset))
            except KafkaException as lost:
                # Somebody else has the partition by now, and reads it from the committed offset.
                log.info("raw_partition_lost", partition=partition, error=str(lost))
        self._stopping.wait(delay)

    def _on_assign(self, _: object, partitions: list[TopicPartition]) -> None:
        # Whoever had them may have died between sending and committing.
        self._recalled.clear()
        self._is_joined = True
        log.info("raw_partitions_assigned", partitions=[each.partition for each in partitions])

    def _on_revoke(self, _: object, partitions: list[TopicPartition]) -> None:
        self._commit(asynchronous=False)
        for each in partitions:
            self._done.pop((each.topic, each.partition), None)

    def _commit(self, *, asynchronous: bool) -> None:
        """Commit what is done; the last of several such requests is the one that counts."""
        if not self._done:
            return
        offsets = [TopicPartition(*place, offset) for place, offset in self._done.items()]
        try:
            self._client.commit(offsets=offsets, asynchronous=asynchronous)
        except KafkaException as exc:
            # They will be read again, and known by their ids.
            log.warning("raw_offsets_not_committed", error=str(exc))


def group_of(raw_topic: str) -> str:
    """Name the consumer group of a raw topic's workers."""
    return f"{raw_topic}.worker"


def build_raw_worker() -> RawWorker:
    """Return the raw worker of this service."""
    raw_topic = settings.OUTBOX_RAW_TOPIC
    return RawWorker(
        raw_topic=raw_topic,
        topics=frozenset(topic.name for topic in settings.OUTBOX_TOPICS) - {raw_topic},
        client=cast("Client", kafka.consumer(group_of(raw_topic), **CLIENT_OPTIONS)),
        codec=Codec(Registry.from_settings()),
        sender=kafka.Sender(),
        take_over=takeover.take_over,
        guard=slot_guard.fault,
        alive=liveness(),
    )


def _observe(records: Sequence[Record]) -> None:
    now = timezone.now()
    for record in records[:: len(records) // OBSERVED_ROWS + 1]:
        age = now - datetime.fromisoformat(record.header("ce_time") or "")
        metrics.publish_latency.labels(record.topic).observe(max(0.0, age.total_seconds()))


def _count(records: Sequence[Record]) -> None:
    by_topic = Counter(record.topic for record in records)
    for topic, count in by_topic.items():
        metrics.published.labels(topic, "published", "").inc(count)


def _place(message: Message) -> tuple[str, int]:
    return message.topic() or "", message.partition() or 0


def _is_record(message: Message) -> bool:
    error = message.error()
    if error is None:
        return True
    if error.fatal():
        raise KafkaException(error)
    if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
        # The client mends these by itself: a broker that is away, a topic that is not there.
        monitoring.outage("raw", KafkaException(error))
        log.warning("raw_consumer_error", error=error.str())
    return False
