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
from .outbound import Outbound
from .provisioning import RAW
from .raw_planning import Plan, Planner
from .reading import to_record
from .receiver import LONGEST_EVENT_ID
from .recent import ids_at_the_tail
from .registry import Registry
from .relay import FIRST_DELAY_SECONDS, REFUSED_FOR_GOOD
from .topics import dead_letter_topic
from .worker import liveness, spread

log = structlog.get_logger(__name__)

# What is in hand stays in the processor's cache: an event of batches five times as large took a
# sixth longer.
BATCH = 1_000
POLL_SECONDS = 1.0
CHORE_SECONDS = 10.0
LONGEST_OUTAGE_DELAY_SECONDS = 3.0
CLIENT_OPTIONS: dict[str, Any] = {
    "queued.min.messages": 4 * BATCH,
    # By default a second, in which the worker would have emptied the queue, and would wait.
    "fetch.queue.backoff.ms": 10,
    # How soon a topic is seen that was made after the worker.
    "topic.metadata.refresh.interval.ms": 10_000,
}


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
        self._planner = Planner(topics=topics, codec=codec, take_over=take_over, tail=tail)
        self._client = client
        self._sender = sender
        self._guard = guard
        self._alive = alive
        self._clock = clock
        self._stopping = threading.Event()
        self._outages = 0
        self._is_joined = False
        self._fault = ""
        self._guarded_at = float("-inf")
        # What is in hand, and the batch behind it with its plan if that is made already.
        self._hand: list[Message] = []
        self._ahead: list[Message] = []
        self._planned: Plan | None = None
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
        self._planner.close()
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
        if not self._take():
            if self._is_joined and not self._outages:
                monitoring.well()
            return False
        try:
            self._work()
        except Exception as exc:
            if not is_outage(exc):
                raise
            self._go_back(exc)
        else:
            self._outages = 0
            monitoring.well()
            for message in self._hand:
                self._done[_place(message)] = (message.offset() or 0) + 1
            self._commit(asynchronous=True)
        self._hand = []
        return True

    def _take(self) -> bool:
        """Take a batch in hand, and what is there behind it, and say whether there is one.

        Partitions come and go only here, with nothing on its way.
        """
        self._hand, self._ahead = self._ahead, []
        if not self._hand:
            # `consume` alone would wait for a whole batch.
            first = self._client.poll(POLL_SECONDS)
            if first is None:
                return False
            self._hand = _records([first])
            rest = self._client.consume(BATCH - 1, 0)
            self._hand += _records(rest)
        behind = self._client.consume(BATCH, 0)
        self._ahead = _records(behind)
        return bool(self._hand)

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

    def _work(self) -> None:
        if self._fault:
            raise SlotFault(f"{self._fault} See: manage.py guard_slot")
        plan, self._planned = self._planned or self._planner.plan(self._hand), None
        for message, reason in plan.poison:
            self._bury(to_record(message), reason)
        began = time.time_ns()
        if plan.records:
            flight = self._sender.begin(plan.records, waiting=self._alive)
            self._plan_ahead(plan)
            results = self._sender.land(flight, waiting=self._alive)
            sources, records = self._judge(plan.messages, plan.records, results)
            while records:
                results = self._sender.send(records, waiting=self._alive)
                sources, records = self._judge(sources, records, results)
        self._planner.remember(plan.event_ids)
        _count(plan.records)
        _observe(plan.records)
        tracing.sent(plan.records, began)

    def _plan_ahead(self, plan: Plan) -> None:
        """Plan the next batch while the brokers take this one; if not now, its turn will come."""
        if self._ahead:
            try:
                self._planned = self._planner.plan(self._ahead, plan.event_ids)
            except Exception as exc:
                if not is_outage(exc):
                    raise
                log.info("raw_rows_not_planned_ahead", error=str(exc))

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

    def _go_back(self, exc: Exception) -> None:
        """Read what is in hand again after a while; no offset of it was committed."""
        self._outages += 1
        monitoring.outage("raw", exc)
        delay = spread(FIRST_DELAY_SECONDS, self._outages, LONGEST_OUTAGE_DELAY_SECONDS)
        say = log.error if isinstance(exc, SlotFault) else log.warning
        say("raw_worker_waits", error=str(exc), times=self._outages, delay=delay)
        first: dict[tuple[str, int], int] = {}
        for message in (*self._hand, *self._ahead):
            first.setdefault(_place(message), message.offset() or 0)
        for (topic, partition), offset in first.items():
            try:
                self._client.seek(TopicPartition(topic, partition, offset))
            except KafkaException as lost:
                # Somebody else has the partition by now, and reads it from the committed offset.
                log.info("raw_partition_lost", partition=partition, error=str(lost))
        self._ahead, self._planned = [], None
        self._stopping.wait(delay)

    def _on_assign(self, _: object, partitions: list[TopicPartition]) -> None:
        # Whoever had them may have died between sending and committing.
        self._planner.recall()
        self._is_joined = True
        log.info("raw_partitions_assigned", partitions=[each.partition for each in partitions])

    def _on_revoke(self, _: object, partitions: list[TopicPartition]) -> None:
        self._commit(asynchronous=False)
        lost = {(each.topic, each.partition) for each in partitions}
        for place in lost:
            self._done.pop(place, None)
        # Whoever has them now reads these again.
        self._hand = [message for message in self._hand if _place(message) not in lost]
        self._ahead = [message for message in self._ahead if _place(message) not in lost]
        self._planned = None

    def _commit(self, *, asynchronous: bool) -> None:
        """Commit what is done since the last time."""
        if not self._done:
            return
        offsets = [TopicPartition(*place, offset) for place, offset in self._done.items()]
        try:
            self._client.commit(offsets=offsets, asynchronous=asynchronous)
            # Never twice: by then the topic may have been deleted and made anew, whose first rows
            # the old offset would pass over.
            self._done.clear()
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


def _records(messages: Iterable[Message]) -> list[Message]:
    return [message for message in messages if _is_record(message)]


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
