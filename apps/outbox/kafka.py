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

from .clients import client_settings, fenced_settings, producer_settings
from .dead_letters import Headers, Record
from .failures import LeaseLost

log = structlog.get_logger(__name__)

TIMEOUT_SECONDS = 30.0
TICK_SECONDS = 0.5

SHUT_OUT = frozenset(
    {
        KafkaError._FENCED,  # noqa: SLF001 (Kafka's client names its own errors so)
        KafkaError._FATAL,  # noqa: SLF001
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.PRODUCER_FENCED,
    }
)

Results = list[KafkaError | None]


class Forked(Exception):
    """A sender was used in another process than the one that made its producer."""


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
        """Shut out whoever still sends under this name, once and for all.

        Raises:
            KafkaException: Kafka is away.
        """
        if self._is_fenced:
            # The broker aborts what was begun under the name, and refuses its holder from now on.
            Producer(fenced_settings(owner)).init_transactions(self._timeout)

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
            if self._is_fenced:
                self._own_producer().begin_transaction()
            self._hand_over(flight, waiting)
        return flight

    def land(self, flight: Flight, *, waiting: Callable[[], None] = lambda: None) -> Results:
        """Wait until the brokers have the records; see `send`."""
        if flight.fault is None:
            with self._ending_with(flight):
                self._wait_for_brokers(waiting)
                if self._is_fenced and any(
                    error.code() in SHUT_OUT for error in flight.errors.values()
                ):
                    raise LeaseLost(self._owner)
        if flight.fault is None:
            results: Results = [flight.errors.get(i) for i in range(len(flight.records))]
            if self._is_fenced:
                results = self._commit(flight, results, waiting)
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
            if self._is_fenced and is_shut_out(exc):
                raise LeaseLost(self._owner) from exc
            if self._is_fenced or not has_ended(exc):
                raise
            flight.fault = exc
        except BaseException:
            self._discard()
            raise

    def _hand_over(self, flight: Flight, waiting: Callable[[], None]) -> None:
        producer = self._own_producer()
        deadline = time.monotonic() + self._timeout
        blocked: dict[tuple[str, bytes | None], KafkaError] = {}
        produce, note = producer.produce, flight.note
        for i, record in enumerate(flight.records):
            topic, key, value, headers, *_ = record
            if blocked and (topic, key) in blocked:
                flight.errors[i] = blocked[topic, key]
                continue
            while True:
                try:
                    produce(topic, value, key, headers=[*headers], on_delivery=partial(note, i))
                except BufferError:
                    producer.poll(TICK_SECONDS)
                    waiting()
                    _check(deadline)
                except KafkaException as exc:
                    error: KafkaError = exc.args[0]
                    if error.fatal() or error.code() == KafkaError._FATAL:  # noqa: SLF001
                        raise
                    flight.errors[i] = blocked[topic, key] = error
                    break
                else:
                    break

    def _wait_for_brokers(self, waiting: Callable[[], None]) -> None:
        deadline = time.monotonic() + self._timeout
        while self._own_producer().flush(TICK_SECONDS):
            waiting()
            _check(deadline)

    def _commit(self, flight: Flight, results: Results, waiting: Callable[[], None]) -> Results:
        """End the transaction; if one of its records was refused, send the others without it."""
        producer = self._own_producer()
        with self._ending_with(flight):
            if not any(results):
                producer.commit_transaction(self._timeout)
                return results
            producer.abort_transaction(self._timeout)
            # librdkafka 2.16 purges the next transaction with the one that was aborted.
            self._discard()
        if len(flight.records) == 1:
            return results
        # Brokers refuse a record together with those that travelled with it.
        refused = {
            (each.topic, each.key)
            for each, error in zip(flight.records, results, strict=True)
            if error
        }
        others = [each for each in flight.records if (each.topic, each.key) not in refused]
        sent = iter(self.send(others, waiting=waiting)) if others else iter(())
        failed: dict[tuple[str, bytes | None], KafkaError] = {}
        found: Results = []
        for each in flight.records:
            place = (each.topic, each.key)
            if place not in refused:
                found.append(next(sent))
                continue
            if place not in failed:
                [error] = self.send([each], waiting=waiting)
                waiting()
                if error is not None:
                    failed[place] = error
            found.append(failed.get(place))
        return found

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

    def _own_producer(self) -> Producer:
        pid = os.getpid()
        if self._producer is None:
            self._producer, self._pid = self._make_producer(), pid
        if self._pid != pid:
            raise Forked(
                f"This producer belongs to process {self._pid} and would deliver nothing from "
                f"{pid}. Make the Sender after the fork."
            )
        return self._producer

    def _make_producer(self) -> Producer:
        if not self._is_fenced:
            return Producer(producer_settings() | self._options)
        producer = Producer(fenced_settings(self._owner) | self._options)
        producer.init_transactions(self._timeout)
        return producer

    def _discard(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None and self._pid == os.getpid():
            with suppress(KafkaException, SystemError):  # a producer at its end says so once more
                producer.purge()
                producer.flush(TICK_SECONDS)


def is_shut_out(exc: BaseException) -> bool:
    """Say whether somebody else has fenced the name under which this producer sends.

    A SystemError is what Python makes of a fatal error: here, to join anew mends each of them.
    """
    return isinstance(exc, SystemError) or (
        isinstance(exc, KafkaException)
        and (bool(exc.args[0].fatal()) or exc.args[0].code() in SHUT_OUT)
    )


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
