"""Kafka's clients, made so that they lose nothing. Only relays and workers own a producer.

A producer made before a fork takes messages in the child and never delivers them, so it is made
by the process that sends, when it first sends.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient
from django.conf import settings

from apps.outbox.dead_letters import Headers, Record

log = structlog.get_logger(__name__)

TIMEOUT_SECONDS = 30.0
TICK_SECONDS = 0.5
LARGEST_RECORD = 1_000_000

Results = list[KafkaError | None]


class Forked(Exception):
    """A sender was used in another process than the one that made its producer."""


def client_settings() -> dict[str, Any]:
    """Return what all of Kafka's clients share."""
    return {
        "bootstrap.servers": settings.KAFKA_BOOTSTRAP_SERVERS,
        "client.id": f"{settings.SERVICE_NAME}-{os.getpid()}",
        "error_cb": _log_error,
        "log_level": 2,
        "reconnect.backoff.max.ms": 2000,
    }


def admin() -> AdminClient:
    return AdminClient(client_settings())


def consumer(group: str, **overrides: Any) -> Consumer:  # noqa: ANN401 (librdkafka's own types)
    """Return a consumer of the group that reads from the beginning and commits nothing itself."""
    return Consumer(
        client_settings()
        | {
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "isolation.level": "read_committed",
            # A killed worker's partitions wait this long for its successor: by default 45 seconds,
            # in which a reservation may run out. Heartbeats have a thread of their own.
            "session.timeout.ms": 6_000,
            "heartbeat.interval.ms": 1_500,
        }
        | overrides
    )


class Flight:
    """Records that have been handed over and are on their way.

    Args:
        records: those of a key in their order.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self.errors: dict[int, KafkaError] = {}
        # Why the producer stopped in the midst of them, if it did.
        self.fault: BaseException | None = None

    def note(self, index: int, error: KafkaError | None, _: Message) -> None:
        """Take a delivery report; those of success are not even made (producer_settings)."""
        if error is not None:
            self.errors[index] = error


class Sender:
    """Hands records to Kafka and waits until the brokers have them, in order for each key.

    Args:
        timeout: seconds after which Kafka counts as away.
        options: more settings of the producer.
        is_fenced: each batch is one Kafka transaction, under the name that was adopted; once
            another process fences that name, nothing sent under it can arrive any more.
    """

    def __init__(
        self,
        *,
        timeout: float = TIMEOUT_SECONDS,
        options: dict[str, Any] | None = None,
        is_fenced: bool = False,
    ) -> None:
        self._timeout = timeout
        self._options = options or {}
        self._is_fenced = is_fenced
        self._owner = ""
        self._producer: Producer | None = None
        self._pid = 0

    def adopt(self, owner: str) -> None:
        """Send under this name from now on."""
        self._discard()
        self._owner = owner

    def fence(self, owner: str) -> None:
        """Shut out whoever still sends under this name."""

    def send_one(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, /
    ) -> None:
        """Send one record.

        Raises:
            KafkaException: it was refused, or Kafka is away.
        """
        [error] = self.send([Record(topic=topic, key=key, value=value, headers=headers)])
        if error is not None:
            raise KafkaException(error)

    def send(
        self, records: Sequence[Record], *, waiting: Callable[[], None] = lambda: None
    ) -> Results:
        """Send the records and return for each None, or why the broker does not have it.

        Once a record of a key fails, the later ones of that key fail with it, even if a broker has
        them: they must be sent again behind it.

        Args:
            records: those of a key in their order.
            waiting: called about twice a second; what it raises ends the waiting.

        Raises:
            KafkaException: Kafka is away; some of the records may have arrived.
        """
        return self.land(self.begin(records, waiting=waiting), waiting=waiting)

    def begin(
        self, records: Sequence[Record], *, waiting: Callable[[], None] = lambda: None
    ) -> Flight:
        """Hand the records over without waiting for the brokers; `land` does, before the next."""
        flight = Flight(records)
        with self._ending_with(flight):
            self._hand_over(flight, waiting)
        return flight

    def land(self, flight: Flight, *, waiting: Callable[[], None] = lambda: None) -> Results:
        """Wait until the brokers have the records; see `send`."""
        if flight.fault is None:
            with self._ending_with(flight):
                self._wait_for_brokers(waiting)
        if flight.fault is None:
            results: Results = [flight.errors.get(i) for i in range(len(flight.records))]
        else:
            # Brokers refuse a batch for one bad record; the producer has stopped at that gap.
            log.warning(
                "kafka_batch_refused",
                records=len(flight.records),
                error=str(flight.fault.__cause__ or flight.fault),
            )
            results = self._send_singly(flight.records, waiting)
        return _hold_back(flight.records, results) if any(results) else results

    def abandon(self) -> None:
        """Drop what is on its way, as far as that is possible still."""
        self._discard()

    def close(self) -> None:
        """Let go of the producer; it has nothing left to deliver."""
        self._discard()

    @contextmanager
    def _ending_with(self, flight: Flight) -> Iterator[None]:
        """Discard the producer if anything goes wrong.

        What is still queued must not arrive behind the back of whoever sends it again.
        """
        try:
            yield
        except (KafkaException, SystemError) as exc:
            self._discard()
            if not has_ended(exc):
                raise
            flight.fault = exc
        except BaseException:
            self._discard()
            raise

    def _hand_over(self, flight: Flight, waiting: Callable[[], None]) -> None:
        producer = self._own_producer()
        deadline = time.monotonic() + self._timeout
        blocked: dict[tuple[str, bytes | None], KafkaError] = {}
        for i, record in enumerate(flight.records):
            if blocked and (record.topic, record.key) in blocked:
                flight.errors[i] = blocked[record.topic, record.key]
                continue
            refused = self._enqueue(producer, record, partial(flight.note, i), deadline, waiting)
            if refused is not None:
                flight.errors[i] = blocked[record.topic, record.key] = refused

    def _wait_for_brokers(self, waiting: Callable[[], None]) -> None:
        deadline = time.monotonic() + self._timeout
        while self._own_producer().flush(TICK_SECONDS):
            waiting()
            _check(deadline)

    def _send_singly(self, records: Sequence[Record], waiting: Callable[[], None]) -> Results:
        """Send one after the other, to find out which one is refused, and nothing behind it."""
        single = Sender(
            timeout=self._timeout, options=self._options | {"enable.gapless.guarantee": False}
        )
        results: Results = []
        blocked: dict[tuple[str, bytes | None], KafkaError] = {}
        try:
            for record in records:
                place = (record.topic, record.key)
                if place not in blocked:
                    [error] = single.send([record], waiting=waiting)
                    waiting()
                    if error is not None:
                        blocked[place] = error
                results.append(blocked.get(place))
        finally:
            single.close()
        return results

    def _enqueue(
        self,
        producer: Producer,
        record: Record,
        report: Callable[[KafkaError | None, Message], None],
        deadline: float,
        waiting: Callable[[], None],
    ) -> KafkaError | None:
        while True:
            try:
                producer.produce(
                    record.topic,
                    key=record.key,
                    value=record.value,
                    headers=list(record.headers),
                    on_delivery=report,
                )
            except BufferError:
                producer.poll(TICK_SECONDS)
                waiting()
                _check(deadline)
            except KafkaException as exc:
                error: KafkaError = exc.args[0]
                if error.fatal() or error.code() == KafkaError._FATAL:  # noqa: SLF001
                    raise
                return error
            else:
                return None

    def _own_producer(self) -> Producer:
        pid = os.getpid()
        if self._producer is None:
            self._producer, self._pid = Producer(producer_settings() | self._options), pid
        if self._pid != pid:
            raise Forked(
                f"This producer belongs to process {self._pid} and would deliver nothing from "
                f"{pid}. Make the Sender after the fork."
            )
        return self._producer

    def _discard(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None and self._pid == os.getpid():
            with suppress(KafkaException, SystemError):  # a producer at its end says so once more
                producer.purge()
                producer.flush(TICK_SECONDS)


def producer_settings() -> dict[str, Any]:
    """Return the settings of a producer whose acknowledged records are safe and in order."""
    return client_settings() | {
        "acks": "all",
        "enable.idempotence": True,
        # A batch that fails for good ends the producer instead of leaving a gap before the next.
        "enable.gapless.guarantee": True,
        # A message never times out by itself, since the next one of its key would overtake it.
        "message.timeout.ms": 0,
        "message.max.bytes": LARGEST_RECORD,
        # Long enough for a topic just created to be known, short enough for the others to go on.
        "topic.metadata.propagation.max.ms": 5000,
        # Nobody waits this long: a flush sends at once what is queued.
        "linger.ms": 5,
        # A batch has arrived when nothing is queued and no error was reported. A report of success
        # for each record would cost as much as sending it.
        "delivery.report.only.error": True,
        "compression.type": "lz4",
    }


def has_ended(exc: BaseException) -> bool:
    """Say whether the producer has stopped for good, since going on would have left a gap.

    Its client raises that in the midst of a delivery report, in which Python may lose it: flush
    then ends in a SystemError, with the true error as its cause or without any. Nothing else here
    leads to a SystemError, since the reports themselves raise nothing.
    """
    return isinstance(exc, SystemError) or (
        isinstance(exc, KafkaException)
        # The code alone is what any later call says.
        and (bool(exc.args[0].fatal()) or exc.args[0].code() == KafkaError._FATAL)  # noqa: SLF001
    )


def _check(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise KafkaException(
            KafkaError(KafkaError._TIMED_OUT, "Kafka did not acknowledge in time")  # noqa: SLF001
        )


def _hold_back(records: Sequence[Record], results: Results) -> Results:
    failed: dict[tuple[str, bytes | None], KafkaError] = {}
    held: Results = []
    for record, error in zip(records, results, strict=True):
        place = (record.topic, record.key)
        if error is not None:
            failed.setdefault(place, error)
        held.append(failed.get(place))
    return held


def _log_error(error: KafkaError) -> None:
    if error.code() == KafkaError._TRANSPORT:  # noqa: SLF001
        return  # repeated for each attempt to connect; that all brokers are down is said as well
    log.warning("kafka_client", error=error.str(), code=error.name(), fatal=error.fatal())
