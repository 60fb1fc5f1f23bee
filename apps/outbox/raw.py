"""The raw worker: outbox rows as Debezium read them become the records that a relay would send.

It reads the raw topic, which is keyed and ordered as the topics it feeds, and commits its offsets
after the brokers' acknowledgement: a crash repeats records, and loses none.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal, Protocol

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from django.conf import settings
from django.db import close_old_connections
from django.utils import timezone

from apps.outbox import dead_letters, kafka
from apps.outbox.codec import Codec
from apps.outbox.consumer import to_record
from apps.outbox.dead_letters import Failure, Headers, Record, Stage
from apps.outbox.failures import Poison, is_outage
from apps.outbox.provisioning import RAW
from apps.outbox.receiver import LONGEST_EVENT_ID
from apps.outbox.records import Row, build_record
from apps.outbox.registry import Registry
from apps.outbox.relay import FIRST_DELAY_SECONDS, REFUSED_FOR_GOOD, Outbound
from apps.outbox.topics import dead_letter_topic
from apps.outbox.worker import liveness, spread

log = structlog.get_logger(__name__)

BATCH = 500
POLL_SECONDS = 1.0
LONGEST_OUTAGE_DELAY_SECONDS = 3.0


class Client(Protocol):
    """What is used of confluent_kafka.Consumer."""

    def subscribe(self, topics: list[str], /) -> None: ...
    def poll(self, timeout: float, /) -> Message | None: ...
    def consume(self, num_messages: int, timeout: float) -> list[Message]: ...
    def seek(self, partition: TopicPartition, /) -> None: ...
    def commit(self, *, offsets: list[TopicPartition], asynchronous: Literal[False]) -> object: ...
    def close(self) -> None: ...


class RawWorker:
    """Turns the rows of one raw topic into records of their topics.

    Args:
        raw_topic: what Debezium writes.
        topics: where rows may go.
        client: a Kafka consumer that commits nothing by itself.
        codec: encodes the payloads.
        sender: hands records to Kafka.
        alive: called with each round of the loop.
    """

    def __init__(  # noqa: PLR0913 (collaborators, all named)
        self,
        *,
        raw_topic: str,
        topics: frozenset[str],
        client: Client,
        codec: Codec,
        sender: Outbound,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._raw_topic = raw_topic
        self._topics = topics
        self._client = client
        self._codec = codec
        self._sender = sender
        self._alive = alive
        self._stopping = threading.Event()
        self._outages = 0

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
        self._client.subscribe([self._raw_topic])
        log.info("raw_worker_started", topic=self._raw_topic)

    def close(self) -> None:
        """Leave the group; what is not committed is read again by the next."""
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
        messages = self._take()
        records = [to_record(message) for message in messages if _is_record(message)]
        if not records:
            return False
        try:
            self._work(records)
        except Exception as exc:
            if not is_outage(exc):
                raise
            self._go_back(records, exc)
        else:
            self._outages = 0
            self._commit(records)
        return True

    def _take(self) -> list[Message]:
        """Wait for one message, and take along what is there: `consume` alone waits for a batch."""
        first = self._client.poll(POLL_SECONDS)
        return [] if first is None else [first, *self._client.consume(BATCH - 1, 0)]

    def _work(self, records: Sequence[Record]) -> None:
        pairs: list[tuple[Record, Record]] = []
        for raw in records:
            try:
                pairs.append((raw, build_record(self._row(raw), self._codec)))
            except Poison as exc:
                self._bury(raw, exc)
        while pairs:
            results = self._sender.send([record for _, record in pairs], waiting=self._alive)
            pairs = self._judge(pairs, results)

    def _judge(
        self, pairs: list[tuple[Record, Record]], results: kafka.Results
    ) -> list[tuple[Record, Record]]:
        """Bury what is refused for good, and return what is to be sent again behind it."""
        refused: set[tuple[str, bytes | None]] = set()
        again: list[tuple[Record, Record]] = []
        for (raw, record), error in zip(pairs, results, strict=True):
            if error is None:
                continue
            if error.code() not in REFUSED_FOR_GOOD:
                raise KafkaException(error)
            place = (record.topic, record.key)
            if place in refused:
                again.append((raw, record))
            else:
                refused.add(place)
                self._bury(raw, Poison("refused_by_broker", f"{error.name()}: {error.str()}"))
        return again

    def _row(self, raw: Record) -> Row:
        """Read a row as Debezium's EventRouter writes it: columns as headers, payload as value.

        Raises:
            Poison: something is missing or malformed, or the row goes to a topic that is not ours.
        """
        if not raw.value:
            raise Poison("empty", "The raw record has no value.")
        columns = {
            name: _required(raw, name)
            for name in ("id", "topic", "type", "record", "version", "aggregate_id", "occurred_at")
        }
        if columns["topic"] not in self._topics:
            raise Poison("unknown_topic", f"{columns['topic']} is none of OUTBOX_TOPICS.")
        try:
            return Row(
                event_id=uuid.UUID(columns["id"]),
                topic=columns["topic"],
                key=(raw.key or b"").decode(),
                version=int(columns["version"]),
                type=columns["type"],
                record=columns["record"],
                payload=raw.value,
                headers=raw.header("headers") or "{}",
                occurred_at=datetime.fromisoformat(columns["occurred_at"]),
                aggregate_id=columns["aggregate_id"],
            )
        except ValueError as exc:
            raise Poison("bad_row", f"A column cannot be read: {exc}") from exc

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
        log.error(
            "raw_row_dead_lettered",
            reason=str(reason),
            kind=reason.kind,
            event_id=event_id,
            partition=raw.partition,
            offset=raw.offset,
        )

    def _go_back(self, records: Sequence[Record], exc: Exception) -> None:
        """Read the batch again after a while; no offset was committed."""
        self._outages += 1
        delay = spread(FIRST_DELAY_SECONDS, self._outages, LONGEST_OUTAGE_DELAY_SECONDS)
        log.warning("raw_worker_waits_for_a_server", error=str(exc), delay=delay)
        first: dict[tuple[str, int], int] = {}
        for record in records:
            first.setdefault((record.topic, record.partition or 0), record.offset or 0)
        for (topic, partition), offset in first.items():
            try:
                self._client.seek(TopicPartition(topic, partition, offset))
            except KafkaException as lost:
                # Somebody else has the partition by now, and reads it from the committed offset.
                log.info("raw_partition_lost", partition=partition, error=str(lost))
        self._stopping.wait(delay)

    def _commit(self, records: Sequence[Record]) -> None:
        done = {(record.topic, record.partition or 0): record.offset or 0 for record in records}
        offsets = [
            TopicPartition(topic, partition, offset + 1)
            for (topic, partition), offset in done.items()
        ]
        try:
            self._client.commit(offsets=offsets, asynchronous=False)
        except KafkaException as exc:
            # They will be sent again: a repeated record does no harm.
            log.warning("raw_offsets_not_committed", error=str(exc))


def build_raw_worker() -> RawWorker:
    """Return the raw worker of this service."""
    raw_topic = settings.OUTBOX_RAW_TOPIC
    return RawWorker(
        raw_topic=raw_topic,
        topics=frozenset(topic.name for topic in settings.OUTBOX_TOPICS) - {raw_topic},
        client=kafka.consumer(f"{raw_topic}.worker"),
        codec=Codec(Registry.from_settings()),
        sender=kafka.Sender(),
        alive=liveness(),
    )


def _is_record(message: Message) -> bool:
    error = message.error()
    if error is None:
        return True
    if error.fatal():
        raise KafkaException(error)
    if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
        log.warning("raw_consumer_error", error=error.str())
    return False


def _required(raw: Record, name: str) -> str:
    value = raw.header(name)
    if not value:
        raise Poison("bad_row", f"The raw record has no readable header {name}.")
    return value
