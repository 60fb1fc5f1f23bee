"""Reading topics: in order in each partition, many records in one transaction, then the offsets."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import chain, islice, takewhile, zip_longest
from typing import Any, cast

import structlog
from confluent_kafka import KafkaException, Message, TopicPartition
from django.db import close_old_connections
from django.utils import timezone
from django.utils.module_loading import import_string

from . import dead_letters, kafka, metrics, monitoring, reading, receiver, tiers
from .burials import HANDLER, Burials, DlqLimit, facts, failed, received
from .codec import Codec
from .conf import settings
from .dead_letters import Failure, Record, Send
from .failures import Poison, is_outage
from .inbox import BATCH_SECONDS
from .lanes import Entry, Lane, Patience
from .parking import Parking
from .reading import CLIENT_OPTIONS, Answers, Client, Offsets, Place, Receiver, to_record
from .receiver import Outcome
from .registry import Registry
from .worker import liveness

__all__ = ["CLIENT_OPTIONS", "Consumer", "DlqLimit", "build_consumer", "to_record"]

log = structlog.get_logger(__name__)

Work = list[tuple[Lane, Entry]]

SEND_TIMEOUT = 5.0
IN_ORDER_OF_KEYS = "key"


class Consumer:
    """Hands the events of a group's topics to its handlers, each with exactly one effect.

    A partition whose first record waits for another try is paused, while the others go on: the
    loop never sleeps. A record that has failed a few times is put off for longer, and its
    partition goes on without it and, to keep the order, without the later records of its key.

    Args:
        group: the consumer group.
        receiver: what lets records take effect.
        client: a Kafka consumer of that group, which commits nothing by itself.
        send: hands a record to Kafka and returns when the broker has it.
        patience: how long and how often to try.
        ordering: "key" parks what is put off, and what follows it of its key, in the store;
            "none" puts it into a retry tier, and the key goes on.
        batch: how many records may share one transaction.
        alive: called with each round of the loop.
        chore: called each second, for what is to be done beside reading.
        clock: seconds that only grow.
        parking: where records of a blocked key wait.
        answers: the client's on_commit.
    """

    LONGEST_POLL = 1.0
    CHORE_EVERY = 1.0

    def __init__(  # noqa: PLR0913 (its collaborators)
        self,
        group: str,
        receiver: Receiver,
        *,
        client: Client,
        send: Send,
        patience: Patience | None = None,
        ordering: str = IN_ORDER_OF_KEYS,
        batch: int = 500,
        alive: Callable[[], object] = lambda: None,
        chore: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        parking: Parking | None = None,
        answers: Answers | None = None,
    ) -> None:
        self._group = group
        self._receiver = receiver
        self._client = client
        self._patience = patience or Patience()
        self._ordering = ordering
        self._batch = batch
        self._size = batch
        self._alive = alive
        self._is_joined = False
        self._chore = chore
        self._clock = clock
        self._burials = Burials(group, send, self._patience)
        self._tiers = tiers.Tiers(group, send)
        self._parking = parking or Parking(
            group, receiver, self._burials, self._patience, batch=batch, clock=clock
        )
        self._lanes: dict[Place, Lane] = {}
        self._offsets = Offsets(group, client, self._lanes, clock)
        if answers is not None:
            answers.listener = self._offsets.answered
        self._is_stopping = False
        self._chore_due = float("-inf")

    def run(self) -> None:
        """Read until `stop` is called."""
        try:
            self.subscribe()
            while not self._is_stopping:
                self.run_once()
        finally:
            self.close()

    def stop(self) -> None:
        """End the loop after the records in hand."""
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
        """Take what Kafka has, at most a batch, try it, and say whether anything was tried.

        Raises:
            DlqLimit: too many records became dead letters.
            KafkaException: the client can never work again.
        """
        self._alive()
        self._fetch()
        has_worked = self._work()
        has_worked = self._parking.work() or has_worked
        self._do_chore()
        self._offsets.commit()
        return has_worked

    def close(self) -> None:
        """Commit what is done and leave the group."""
        self._offsets.commit_now(self._lanes)
        self._client.close()
        log.info("consumer_stopped", group=self._group)

    def _fetch(self) -> None:
        """Take what is there: a lone record waits for no other."""
        room = self._batch - sum(len(x.entries) for x in self._lanes.values() if not x.is_paused)
        polled = self._client.poll(self._time_to_poll())
        while polled is not None:
            self._take(polled)
            room -= 1
            polled = self._client.poll(0.0) if room > 0 else None

    def _take(self, polled: Message) -> None:
        error = polled.error()
        if error is None:
            record = to_record(polled)
            self._lane(record.topic, record.partition or 0).entries.append(tiers.unwrap(record))
        elif error.fatal():
            raise KafkaException(error)
        elif not (polled.topic() or "").startswith("^"):  # a pattern that fits no topic yet
            # The client mends these by itself: a broker that is away, a topic not made yet.
            log.warning("kafka_trouble", group=self._group, error=error.str())

    def _work(self) -> bool:
        lanes = self._ready_lanes()
        if not lanes:
            return False
        close_old_connections()
        for lane in lanes:
            if lane.verdict is not None:
                self._conclude(lane, lane.entries[0], lane.verdict)
        work = self._gather([lane for lane in lanes if lane.verdict is None])
        if work:
            self._process(work)
        return bool(work)

    def _ready_lanes(self) -> list[Lane]:
        now = self._clock()
        ready = [lane for lane in self._lanes.values() if lane.is_busy and lane.due <= now]
        for lane in ready:
            # In a retry tier each record waits for its time, and those behind it even longer.
            due_at = lane.entries[0].due_at if lane.entries else None
            if due_at is not None and (left := (due_at - timezone.now()).total_seconds()) > 0:
                self._wait(lane, left)
        return [lane for lane in ready if lane.due <= now]

    def _gather(self, lanes: list[Lane]) -> Work:
        """Return what to try together: of each lane as much as of the others, in its order."""
        share = max(1, self._size // max(1, len(lanes)))
        works = [self._gather_from(lane, share) for lane in lanes]
        rounds = chain.from_iterable(zip_longest(*works))
        return [each for each in rounds if each is not None][: self._size]

    def _gather_from(self, lane: Lane, share: int) -> Work:
        now = timezone.now()
        try:
            self._parking.take(lane.place)
            lane.is_known = True
            entries = list(
                takewhile(
                    lambda entry: entry.due_at is None or entry.due_at <= now,
                    islice(lane.entries, share),
                )
            )
            behind = [entry for entry in entries if self._is_blocked(entry.record)]
            if behind:
                self._parking.park_behind([entry.record for entry in behind])
        except Exception as exc:  # noqa: BLE001 (the loop goes on; nothing was tried)
            self._hold(lane, exc)
            return []
        for entry in behind:
            self._finish(lane, entry, Outcome.PARKED)
        return [(lane, entry) for entry in entries if not entry.is_done]

    def _is_blocked(self, record: Record) -> bool:
        # One with a faulty header takes no effect anyway, and the store could not keep the fault.
        return not record.headers_fault and self._parking.is_blocked(record)

    def _process(self, work: Work) -> None:
        started = self._clock()
        try:
            with metrics.handling.labels(self._group).time():
                outcomes = self._receiver.receive_all([entry.record for _, entry in work])
        except Exception as exc:  # noqa: BLE001 (one of the two loops that may)
            # Of several records the first has failed, as if it had been alone.
            self._size = max(1, self._size // 2)
            self._set_back(*work[0], exc)
            return
        took = self._clock() - started
        for (lane, entry), outcome in zip(work, outcomes, strict=False):
            self._finish(lane, entry, outcome, ms=round(took * 1000, 1), batch=len(outcomes))
        if len(outcomes) < len(work):
            self._size = len(outcomes)
        elif took < BATCH_SECONDS / 2:
            self._size = min(self._batch, 2 * self._size)

    def _finish(self, lane: Lane, entry: Entry, outcome: Outcome, **more: Any) -> None:  # noqa: ANN401
        entry.is_done = True
        lane.advance()
        if lane.is_paused and not lane.entries:
            self._client.resume([TopicPartition(*lane.place)])
            lane.is_paused = False
        received(self._group, entry.record, outcome, **more)
        if lane.leaves_gap(entry.record):
            metrics.version_gaps.labels(self._group, entry.record.topic).inc()
            log.debug("version_gap", **facts(self._group, entry.record))

    def _set_back(self, lane: Lane, entry: Entry, exc: Exception) -> None:
        """Keep the record for another try, and let the other partitions go on."""
        if is_outage(exc):
            self._hold(lane, exc)
            return
        entry.attempts += 1
        failure = failed(
            self._group, exc, attempts=entry.attempts, first_failed_at=entry.first_failed_at
        )
        entry.first_failed_at = failure.first_failed_at
        log.warning(
            "message_failed",
            attempt=entry.attempts,
            error=failure.message,
            # The further attempts most likely fail for the same reason.
            exc_info=exc if entry.attempts == 1 and failure.kind == HANDLER else None,
            **facts(self._group, entry.record),
        )
        if isinstance(exc, Poison) or entry.attempts >= self._patience.attempts:
            self._conclude(lane, entry, failure)
        else:
            self._wait(lane, self._patience.after_failure(entry.attempts))

    def _conclude(self, lane: Lane, entry: Entry, failure: Failure) -> None:
        """Put the record off, or bury it; and go on only when that is done."""
        try:
            outcome = self._put_off(entry, failure)
        except DlqLimit:
            raise
        except Exception as exc:  # noqa: BLE001 (the loop goes on; the verdict stays)
            lane.verdict = failure
            self._hold(lane, exc)
            return
        self._finish(lane, entry, outcome)

    def _put_off(self, entry: Entry, failure: Failure) -> Outcome:
        record = entry.record
        delay = self._patience.put_off(failure) if failure.kind == HANDLER else None
        if delay is not None and self._ordering == IN_ORDER_OF_KEYS and entry.due_at is None:
            self._parking.park(record, failure, delay)
            return Outcome.PARKED
        if delay is not None and self._tiers.has_taken(record, failure, delay):
            return Outcome.RETRIED
        self._burials.bury(record, failure)
        return Outcome.DEAD

    def _hold(self, lane: Lane, exc: Exception) -> None:
        """Let the partition wait for whatever is away; that spends no attempt."""
        lane.outages += 1
        monitoring.outage("consumer", exc)
        delay = self._patience.after_outage(lane.outages)
        log.warning(
            "partition_waits",
            group=self._group,
            topic=lane.topic,
            partition=lane.partition,
            error=repr(exc),
            delay=delay,
            exc_info=None if is_outage(exc) else exc,
        )
        self._wait(lane, delay)

    def _wait(self, lane: Lane, delay: float) -> None:
        lane.due = self._clock() + delay
        if not lane.is_paused:
            self._client.pause([TopicPartition(*lane.place)])
            lane.is_paused = True

    def _time_to_poll(self) -> float:
        now = self._clock()
        times = [lane.due - now for lane in self._lanes.values() if lane.is_busy]
        if (due := self._parking.next_due()) is not None:
            times.append(due - now)
        if (left := self._offsets.time_left()) is not None:
            times.append(left)
        return max(0.0, min([self.LONGEST_POLL, *times]))

    def _do_chore(self) -> None:
        if self._clock() < self._chore_due:
            return
        self._chore_due = self._clock() + self.CHORE_EVERY
        close_old_connections()
        try:
            self._parking.refresh()
            self._chore()
        except Exception as exc:
            if not is_outage(exc):
                raise
            monitoring.outage("consumer", exc)
            log.warning("chore_waits", group=self._group, error=repr(exc))
            return
        if self._is_joined and not any(lane.outages for lane in self._lanes.values()):
            monitoring.well()

    def _on_assign(self, _client: Client, partitions: list[TopicPartition]) -> None:
        self._is_joined = True
        for each in partitions:
            self._lane(each.topic, each.partition)
        log.info("partitions_assigned", group=self._group, partitions=reading.names(partitions))

    def _on_revoke(self, _client: Client, partitions: list[TopicPartition]) -> None:
        """Commit what is done, while the partitions are still ours, and forget the rest."""
        self._offsets.commit_now([(each.topic, each.partition) for each in partitions])
        self._forget(partitions)
        log.info("partitions_revoked", group=self._group, partitions=reading.names(partitions))

    def _on_lost(self, _client: Client, partitions: list[TopicPartition]) -> None:
        """Forget without a commit: somebody else may have gone further already."""
        self._forget(partitions)
        log.warning("partitions_lost", group=self._group, partitions=reading.names(partitions))

    def _lane(self, topic: str, partition: int) -> Lane:
        place = (topic, partition)
        if place not in self._lanes:
            self._lanes[place] = Lane(topic=topic, partition=partition)
        return self._lanes[place]

    def _forget(self, partitions: list[TopicPartition]) -> None:
        lanes = [self._lanes.pop((each.topic, each.partition), None) for each in partitions]
        gone = [lane for lane in lanes if lane is not None]
        for lane in gone:
            self._parking.forget(lane.place)
        if paused := [TopicPartition(*lane.place) for lane in gone if lane.is_paused]:
            # The client remembers a pause beyond the end of the assignment.
            self._client.resume(paused)


def build_consumer() -> Consumer:
    """Return the consumer that this service's settings describe."""
    group = settings.CONSUMER_GROUP
    send = kafka.Sender(timeout=SEND_TIMEOUT).send_one
    answers = Answers()
    client = kafka.consumer(
        group, **CLIENT_OPTIONS, on_commit=answers, stats_cb=reading.lag_listener(group)
    )
    return Consumer(
        group,
        receiver.Receiver(
            group, import_string(settings.EVENT_HANDLERS), Codec(Registry.from_settings())
        ),
        # Its stubs overload commit by whether it waits, which no one signature matches.
        client=cast("Client", client),
        answers=answers,
        send=send,
        patience=Patience(
            attempts=settings.CONSUMER_ATTEMPTS,
            delays=tuple(settings.OUTBOX_RETRY_DELAYS_SECONDS),
            deadline=settings.OUTBOX_RETRY_DEADLINE_SECONDS,
            limit=settings.CONSUMER_DLQ_LIMIT,
            limit_window=settings.CONSUMER_DLQ_LIMIT_WINDOW_SECONDS,
        ),
        ordering=settings.CONSUMER_ORDERING,
        batch=settings.CONSUMER_BATCH,
        alive=liveness(),
        chore=lambda: dead_letters.replay_requested(group, send),
    )
