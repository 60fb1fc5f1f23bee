"""Reading topics: one record after the other in each partition, the offset after the effect."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from operator import methodcaller
from typing import Any, Protocol, cast

import structlog
from confluent_kafka import KafkaException, Message, TopicPartition
from django.conf import settings
from django.db import close_old_connections
from django.utils import timezone
from django.utils.module_loading import import_string

from apps.outbox import dead_letters, kafka, receiver
from apps.outbox.codec import Codec
from apps.outbox.dead_letters import Failure, Record, Send, Stage
from apps.outbox.failures import Poison, is_outage
from apps.outbox.lanes import Lane, Patience
from apps.outbox.receiver import Outcome, known_event_id
from apps.outbox.registry import Registry
from apps.outbox.worker import liveness

log = structlog.get_logger(__name__)

Place = tuple[str, int]

# The client (2.16) returns a result and leaves a UnicodeDecodeError behind. Python makes that a
# SystemError here; after a plain call that is hot, the error comes up somewhere else.
read_headers = methodcaller("headers")

SEND_TIMEOUT = 5.0

CLIENT_OPTIONS: dict[str, Any] = {
    # Only the partitions that move stop, instead of all of them at each change of the group.
    "partition.assignment.strategy": "cooperative-sticky",
    # A new record ends the wait at once; a resumed partition is only asked for after it.
    "fetch.wait.max.ms": 100,
    # How soon a topic is seen that was made after the consumer.
    "topic.metadata.refresh.interval.ms": 10_000,
}


class DlqLimit(Exception):
    """So many records fail that the fault is more likely ours than theirs: a person must look."""


class Receiver(Protocol):
    """What is used of apps.outbox.receiver.Receiver."""

    @property
    def topics(self) -> list[str]: ...
    def receive(self, record: Record, /) -> Outcome: ...


class Client(Protocol):
    """What is used of confluent_kafka.Consumer."""

    def subscribe(self, topics: list[str], /, **callbacks: Callable[..., None]) -> None: ...
    def poll(self, timeout: float, /) -> Message | None: ...
    def pause(self, partitions: list[TopicPartition], /) -> None: ...
    def resume(self, partitions: list[TopicPartition], /) -> None: ...
    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> Any: ...  # noqa: ANN401
    def close(self) -> None: ...


class Consumer:
    """Hands the events of a group's topics to its handlers, each with exactly one effect.

    A partition whose first record waits for another try is paused, while the others go on: the
    loop never sleeps, and so never loses its place in the group.

    Args:
        group: the consumer group.
        receiver: what lets a record take effect.
        client: a Kafka consumer of that group, which commits nothing by itself.
        send: hands a record to Kafka and returns when the broker has it.
        patience: how long and how often to try.
        alive: called with each round of the loop.
        chore: called each second, for what is to be done beside reading.
        clock: seconds that only grow.
    """

    LONGEST_POLL = 1.0
    COMMIT_EVERY = 0.1
    CHORE_EVERY = 1.0

    def __init__(  # noqa: PLR0913 (its collaborators)
        self,
        group: str,
        receiver: Receiver,
        *,
        client: Client,
        send: Send,
        patience: Patience | None = None,
        alive: Callable[[], object] = lambda: None,
        chore: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._group = group
        self._receiver = receiver
        self._client = client
        self._send = send
        self._patience = patience or Patience()
        self._alive = alive
        self._chore = chore
        self._clock = clock
        self._lanes: dict[Place, Lane] = {}
        self._is_stopping = False
        self._committed_at = float("-inf")
        self._chore_done_at = float("-inf")

    def run(self) -> None:
        """Read until `stop` is called."""
        try:
            self.subscribe()
            while not self._is_stopping:
                self.run_once()
        finally:
            self.close()

    def stop(self) -> None:
        """End the loop after the message in hand."""
        self._is_stopping = True

    def subscribe(self) -> None:
        self._client.subscribe(
            self._receiver.topics,
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )
        log.info("consumer_started", group=self._group, topics=self._receiver.topics)

    def run_once(self) -> bool:
        """Take at most one record from Kafka, try at most one, and say whether one was tried.

        Raises:
            DlqLimit: too many records became dead letters.
            KafkaException: the client can never work again.
        """
        self._alive()
        polled = self._client.poll(self._time_to_poll())
        if polled is not None:
            self._take(polled)
        lane = self._due_lane()
        if lane is not None:
            close_old_connections()
            self._work(lane)
        self._do_chore()
        self._commit()
        return lane is not None

    def close(self) -> None:
        """Commit what is done and leave the group."""
        self._commit_now(self._lanes)
        self._client.close()
        log.info("consumer_stopped", group=self._group)

    def _take(self, polled: Message) -> None:
        error = polled.error()
        if error is None:
            record = to_record(polled)
            place = (record.topic, record.partition or 0)
            self._lanes.setdefault(place, Lane()).records.append(record)
        elif error.fatal():
            raise KafkaException(error)
        else:
            # The client mends these by itself: a broker that is away, a topic not made yet.
            log.warning("kafka_trouble", group=self._group, error=error.str())

    def _work(self, lane: Lane) -> None:
        record = lane.records[0]
        started = self._clock()
        try:
            outcome = self._settle(lane, record)
        except DlqLimit:
            raise
        except Exception as exc:  # noqa: BLE001 (one of the two loops that may)
            self._set_back(lane, record, exc)
            return
        lane.next()
        if lane.is_paused and not lane.records:
            self._client.resume([_partition(record)])
            lane.is_paused = False
        level = log.debug if outcome is Outcome.SKIPPED else log.info
        level(
            "message_received",
            outcome=outcome.value,
            ms=round((self._clock() - started) * 1000, 1),
            **self._facts(record),
        )

    def _settle(self, lane: Lane, record: Record) -> Outcome:
        """Receive the record, or bury it if it is known that it cannot be received."""
        if lane.verdict is None:
            try:
                return self._receiver.receive(record)
            except Poison as exc:
                lane.attempts += 1
                lane.verdict = self._failure(lane, exc.kind, str(exc))
        self._bury(record, lane.verdict)
        return Outcome.DEAD

    def _bury(self, record: Record, failure: Failure) -> None:
        window = timedelta(seconds=self._patience.limit_window)
        recent = dead_letters.recent_count(self._group, timezone.now() - window)
        if recent >= self._patience.limit:
            raise DlqLimit(
                f"{recent} records of {self._group} became dead letters within "
                f"{self._patience.limit_window:.0f} s; the next would be for: {failure.message}. "
                "See what is wrong before more follow. Nothing is lost: the record keeps its place."
            )
        dead_letters.bury(record, failure, self._send, event_id=known_event_id(record))
        log.error("message_dead", kind=failure.kind, error=failure.message, **self._facts(record))

    def _set_back(self, lane: Lane, record: Record, exc: Exception) -> None:
        """Keep the record for another try, and let the other partitions go on."""
        if is_outage(exc):
            lane.outages += 1
            delay = self._patience.after_outage(lane.outages)
            log.warning("message_waits", error=repr(exc), delay=delay, **self._facts(record))
        else:
            lane.attempts += 1
            text = f"{type(exc).__qualname__}: {exc}"
            failure = self._failure(lane, "handler", text)
            lane.first_failed_at = failure.first_failed_at
            delay = self._patience.after_failure(lane.attempts)
            if lane.attempts >= self._patience.attempts:
                lane.verdict, delay = lane.verdict or failure, 0.0
            log.warning(
                "message_failed",
                attempt=lane.attempts,
                delay=delay,
                error=text,
                # The further attempts most likely fail for the same reason.
                exc_info=exc if lane.attempts == 1 else None,
                **self._facts(record),
            )
        lane.due = self._clock() + delay
        if not lane.is_paused:
            self._client.pause([_partition(record)])
            lane.is_paused = True

    def _failure(self, lane: Lane, kind: str, message: str) -> Failure:
        now = timezone.now()
        return Failure(
            stage=Stage.CONSUMER,
            group=self._group,
            kind=kind,
            message=message,
            attempts=lane.attempts,
            first_failed_at=lane.first_failed_at or now,
            last_failed_at=now,
        )

    def _due_lane(self) -> Lane | None:
        now = self._clock()
        waiting = (lane for lane in self._lanes.values() if lane.records and lane.due <= now)
        return min(waiting, key=lambda lane: lane.due, default=None)

    def _time_to_poll(self) -> float:
        dues = [lane.due for lane in self._lanes.values() if lane.records]
        longest = self.COMMIT_EVERY if self._uncommitted() else self.LONGEST_POLL
        return max(0.0, min([longest, *(due - self._clock() for due in dues)]))

    def _do_chore(self) -> None:
        if self._clock() < self._chore_done_at + self.CHORE_EVERY:
            return
        self._chore_done_at = self._clock()
        close_old_connections()
        try:
            self._chore()
        except Exception as exc:
            if not is_outage(exc):
                raise
            log.warning("chore_waits", group=self._group, error=repr(exc))

    def _uncommitted(self) -> list[TopicPartition]:
        return [
            TopicPartition(*place, lane.done)
            for place, lane in self._lanes.items()
            if lane.done not in {None, lane.committed}
        ]

    def _commit(self) -> None:
        """Tell the broker how far we are, a few times a second, without waiting for it."""
        now = self._clock()
        if now < self._committed_at + self.COMMIT_EVERY or not (offsets := self._uncommitted()):
            return
        self._committed_at = now
        self._commit_offsets(offsets, asynchronous=True)
        for offset in offsets:
            self._lanes[offset.topic, offset.partition].committed = offset.offset

    def _commit_now(self, places: Iterable[Place]) -> None:
        done = {place: self._lanes[place].done for place in places if place in self._lanes}
        offsets = [
            TopicPartition(*place, offset) for place, offset in done.items() if offset is not None
        ]
        if offsets:
            self._commit_offsets(offsets, asynchronous=False)

    def _commit_offsets(self, offsets: list[TopicPartition], *, asynchronous: bool) -> None:
        try:
            self._client.commit(offsets=offsets, asynchronous=asynchronous)
        except KafkaException as exc:
            # The inbox knows what has taken effect, whoever reads it again.
            log.warning("offsets_not_committed", group=self._group, error=str(exc))

    def _on_assign(self, _client: Client, partitions: list[TopicPartition]) -> None:
        log.info("partitions_assigned", group=self._group, partitions=_names(partitions))

    def _on_revoke(self, _client: Client, partitions: list[TopicPartition]) -> None:
        """Commit what is done, while the partitions are still ours, and forget the rest."""
        self._commit_now([(each.topic, each.partition) for each in partitions])
        self._forget(partitions)
        log.info("partitions_revoked", group=self._group, partitions=_names(partitions))

    def _on_lost(self, _client: Client, partitions: list[TopicPartition]) -> None:
        """Forget without a commit: somebody else may have gone further already."""
        self._forget(partitions)
        log.warning("partitions_lost", group=self._group, partitions=_names(partitions))

    def _forget(self, partitions: list[TopicPartition]) -> None:
        paused = [
            each
            for each in partitions
            if (lane := self._lanes.pop((each.topic, each.partition), None)) and lane.is_paused
        ]
        if paused:
            # The client remembers a pause beyond the end of the assignment.
            self._client.resume(paused)

    def _facts(self, record: Record) -> dict[str, Any]:
        return {
            "group": self._group,
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "key": (record.key or b"").decode("utf-8", "replace"),
            "event_id": record.header("ce_id"),
            "type": record.header("ce_type"),
            "correlation_id": record.header("ce_correlationid"),
        }


def build_consumer() -> Consumer:
    """Return the consumer that this service's settings describe."""
    group = settings.CONSUMER_GROUP
    send = kafka.Sender(timeout=SEND_TIMEOUT).send_one
    return Consumer(
        group,
        receiver.Receiver(
            group, import_string(settings.EVENT_HANDLERS), Codec(Registry.from_settings())
        ),
        # Its stubs overload commit by whether it waits, which no one signature matches.
        client=cast("Client", kafka.consumer(group, **CLIENT_OPTIONS)),
        send=send,
        patience=Patience(attempts=settings.CONSUMER_ATTEMPTS, limit=settings.CONSUMER_DLQ_LIMIT),
        alive=liveness(),
        chore=lambda: dead_letters.replay_requested(group, send),
    )


def to_record(message: Message) -> Record:
    """Return the record that Kafka's client read.

    The client decodes the headers' names, and returns none of them if one is not UTF-8.
    """
    headers: list[tuple[str, str | bytes | None]] = []
    fault = ""
    try:
        headers = read_headers(message) or []
    except (SystemError, UnicodeDecodeError) as exc:
        fault = str(exc.__cause__ or exc)
    return Record(
        topic=message.topic() or "",
        partition=message.partition(),
        offset=message.offset(),
        key=message.key(),
        value=message.value(),
        headers=tuple(
            (name, value.encode() if isinstance(value, str) else value) for name, value in headers
        ),
        headers_fault=fault,
    )


def _partition(record: Record) -> TopicPartition:
    return TopicPartition(record.topic, record.partition or 0)


def _names(partitions: list[TopicPartition]) -> list[str]:
    return [f"{each.topic}/{each.partition}" for each in partitions]
