"""Kafka's consumer as the loop uses it: what it delivers, and how far we tell it that we are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import methodcaller
from typing import Any, Protocol

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from . import metrics
from .dead_letters import Record
from .lanes import Lane
from .receiver import Outcome

log = structlog.get_logger(__name__)

Place = tuple[str, int]

# The client (2.16) returns a result and leaves a UnicodeDecodeError behind. Python makes that a
# SystemError here; after a plain call that is hot, the error comes up somewhere else.
read_headers = methodcaller("headers")

CLIENT_OPTIONS: dict[str, Any] = {
    # How often the client tells how far behind it is (lag_listener).
    "statistics.interval.ms": 10_000,
    # Only the partitions that move stop, instead of all of them at each change of the group.
    "partition.assignment.strategy": "cooperative-sticky",
    # A new record ends the wait at once; a resumed partition is only asked for after it.
    "fetch.wait.max.ms": 100,
    # How soon a topic is seen that was made after the consumer.
    "topic.metadata.refresh.interval.ms": 10_000,
}


def lag_listener(group: str) -> Callable[[str], None]:
    """Return what takes the client's statistics and tells how far behind the group's reader is."""

    def listen(statistics: str) -> None:
        for topic, facts in json.loads(statistics)["topics"].items():
            # -1: the partition is another's, or nothing is known of it yet.
            behind = [each["consumer_lag"] for each in facts["partitions"].values()]
            metrics.consumer_lag.labels(group, topic).set(sum(max(0, each) for each in behind))

    return listen


class Client(Protocol):
    """What is used of confluent_kafka.Consumer."""

    def subscribe(self, topics: list[str], /, **callbacks: Callable[..., None]) -> None: ...
    def poll(self, timeout: float, /) -> Message | None: ...
    def pause(self, partitions: list[TopicPartition], /) -> None: ...
    def resume(self, partitions: list[TopicPartition], /) -> None: ...
    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> Any: ...  # noqa: ANN401
    def close(self) -> None: ...


class Receiver(Protocol):
    """What is used of receiver.Receiver."""

    @property
    def topics(self) -> list[str]: ...
    def receive_all(
        self, records: Sequence[Record], also: Callable[[int], object] = ..., /
    ) -> list[Outcome]: ...


class Answers:
    """The brokers' answers to commits: made before the client, whose on_commit it is."""

    def __init__(self) -> None:
        self.listener: Callable[[KafkaError | None, list[TopicPartition]], None] | None = None

    def __call__(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        if self.listener is not None:
            self.listener(error, partitions)


class Offsets:
    """Commits how far the lanes are done; only of lanes, so only of partitions that are ours.

    Args:
        group: the consumer group.
        client: commits nothing by itself.
        lanes: the partitions that are read.
        clock: seconds that only grow.
    """

    EVERY = 0.1
    AFTER_REFUSAL = 1.0

    def __init__(
        self,
        group: str,
        client: Client,
        lanes: Mapping[Place, Lane],
        clock: Callable[[], float],
    ) -> None:
        self._group = group
        self._client = client
        self._lanes = lanes
        self._clock = clock
        self._due = float("-inf")

    def time_left(self) -> float | None:
        """Return the seconds until there is something to commit; None if there is nothing."""
        return max(0.0, self._due - self._clock()) if self._waiting() else None

    def commit(self) -> None:
        """Tell the broker how far we are, a few times a second, without waiting for it."""
        now = self._clock()
        if now < self._due or not (lanes := self._waiting()):
            return
        self._due = now + self.EVERY
        for lane in lanes:
            lane.committed = lane.done
        self._commit(lanes, asynchronous=True)

    def commit_now(self, places: Iterable[Place]) -> None:
        """Tell the broker how far we are there, unless it knows, and wait until it does.

        To say it once more does harm if the topic was deleted and made anew meanwhile: its first
        records would be passed over.
        """
        lanes = [self._lanes[place] for place in places if place in self._lanes]
        news = [lane for lane in lanes if lane.done not in {None, lane.acknowledged}]
        self._commit(news, asynchronous=False)

    def answered(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """Take note of the broker's answer to a commit, to repeat one that it refused."""
        refused = []
        for each in partitions:
            lane = self._lanes.get((each.topic, each.partition))
            if lane is None:
                continue
            if error or each.error:
                refused.append(lane)
            else:
                lane.acknowledged = each.offset
        if refused:
            self._repeat(refused, str(error or partitions[0].error))

    def _waiting(self) -> list[Lane]:
        return [lane for lane in self._lanes.values() if lane.done not in {None, lane.committed}]

    def _commit(self, lanes: list[Lane], *, asynchronous: bool) -> None:
        offsets = [TopicPartition(*lane.place, lane.done or 0) for lane in lanes]
        if not offsets:
            return
        try:
            self._client.commit(offsets=offsets, asynchronous=asynchronous)
        except KafkaException as exc:
            self._repeat(lanes, str(exc))

    def _repeat(self, lanes: list[Lane], error: str) -> None:
        # Whoever reads those records again: the inbox knows what has taken effect.
        log.warning("offsets_not_committed", group=self._group, error=error)
        self._due = self._clock() + self.AFTER_REFUSAL
        for lane in lanes:
            lane.committed = None


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


def names(partitions: Iterable[TopicPartition]) -> list[str]:
    """Return what a log line calls the partitions."""
    return [f"{each.topic}/{each.partition}" for each in partitions]
