"""Sending: committed rows go to their topics, each key in the order of its versions.

One relay leads at a time, by a lease. It reads the rows that wait from one moment, hands them to
Kafka, and marks them after the brokers' acknowledgement, in a transaction that fails when another
relay has taken over meanwhile. A crash anywhere repeats records, and loses none.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol

import structlog
from confluent_kafka import KafkaError, KafkaException
from django.db import close_old_connections
from django.utils import timezone

from apps.outbox import dead_letters
from apps.outbox.codec import Codec
from apps.outbox.dead_letters import Failure, Record, Send, Stage
from apps.outbox.failures import Poison, is_outage
from apps.outbox.kafka import Results, Sender
from apps.outbox.records import Row, build_record, unbuildable
from apps.outbox.registry import Registry
from apps.outbox.stores import Delay, Lease, LeaseLost, Page, Settlement, Store, open_store
from apps.outbox.worker import liveness, spread

log = structlog.get_logger(__name__)

BATCH = 500
LEASE_SECONDS = 5.0
RENEW_AFTER_SECONDS = 1.5
WAIT_SECONDS = 1.0
MOST_KNOWN = 50_000
FIRST_DELAY_SECONDS = 0.4
LONGEST_OUTAGE_DELAY_SECONDS = 5.0
LONGEST_ROW_DELAY_SECONDS = 60.0
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


class Outbound(Protocol):
    """What is used of `kafka.Sender`."""

    def send(self, records: Sequence[Record], *, waiting: Callable[[], None]) -> Results: ...
    @property
    def send_one(self) -> Send: ...
    def close(self) -> None: ...


class Relay:
    """Publishes the rows of one store.

    Args:
        store: the outbox.
        codec: encodes the payloads.
        sender: hands records to Kafka.
        owner: a name of this process that no other has.
        batch: how many rows are read at once.
        lease_seconds: how long the others wait for a relay that has died.
        alive: called with each round of the loop.
        clock: seconds that only grow.
    """

    def __init__(  # noqa: PLR0913 (collaborators, nearly all named)
        self,
        store: Store,
        codec: Codec,
        sender: Outbound,
        *,
        owner: str,
        batch: int = BATCH,
        lease_seconds: float = LEASE_SECONDS,
        alive: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._codec = codec
        self._sender = sender
        self._owner = owner
        self._batch = batch
        self._lease_seconds = lease_seconds
        self._alive = alive
        self._clock = clock
        self._stopping = threading.Event()
        self._lease: Lease | None = None
        self._renewed_at = 0.0
        self._page: Page | None = None
        self._round_did_work = False
        self._outages = 0
        # What the change stream will report although it is sent already.
        self._known: set[uuid.UUID] = set()

    @property
    def is_leader(self) -> bool:
        return self._lease is not None

    def run(self) -> None:
        """Publish until `stop` is called.

        Raises:
            Exception: something is wrong that waiting does not mend.
        """
        log.info("relay_started", owner=self._owner)
        try:
            while not self._stopping.is_set():
                self._round()
        finally:
            self.close()

    def stop(self) -> None:
        """End the loop after the batch in hand."""
        self._stopping.set()

    def run_once(self) -> bool:
        """Publish what one read of the outbox finds, and say whether to look again at once.

        Raises:
            LeaseLost: another relay has taken over.
            Exception: a server is away, which `is_outage` tells, or something is wrong.
        """
        if not self._lead():
            return False
        rows = self._store.pending(self._page, self._batch)
        settlement = Settlement()
        to_send = self._plan(rows, settlement)
        if to_send:
            self._keep_lease()
            results = self._sender.send([record for _, record in to_send], waiting=self._keep_lease)
            self._judge([row for row, _ in to_send], results, settlement)
        if settlement:
            self._settle(settlement)
        return self._turn_page(rows, settlement)

    def close(self) -> None:
        """Let go of everything, so that another relay may begin at once."""
        lease, self._lease = self._lease, None
        try:
            self._sender.close()
            self._codec.close()
            self._store.close()
            if lease is not None:
                self._store.release(lease)
        except Exception as exc:
            if not is_outage(exc):
                raise
            log.warning("relay_lease_not_released", error=str(exc))
        log.info("relay_stopped", owner=self._owner)

    def _round(self) -> None:
        self._alive()
        close_old_connections()
        try:
            if self.is_leader:
                self._store.arm()
            if not self.run_once():
                self._wait()
        except LeaseLost as exc:
            log.warning("relay_lease_lost", lease=str(exc))
            self._step_down()
        except Exception as exc:
            if not is_outage(exc):
                raise
            self._sit_out(exc)
        else:
            self._outages = 0

    def _wait(self) -> None:
        if self.is_leader:
            self._store.wait(WAIT_SECONDS, self._known)
        else:
            self._stopping.wait(WAIT_SECONDS)

    def _sit_out(self, exc: Exception) -> None:
        """Wait for a server to come back: all rows stay as they are, and no attempt is spent."""
        self._outages += 1
        delay = spread(FIRST_DELAY_SECONDS, self._outages, LONGEST_OUTAGE_DELAY_SECONDS)
        log.warning("relay_waits_for_a_server", error=str(exc), times=self._outages, delay=delay)
        self._step_down()
        self._stopping.wait(delay)

    def _step_down(self) -> None:
        """Forget what was read: after a pause, another relay may have gone further."""
        self._page = None
        self._round_did_work = False
        if self._lease is not None and self._clock() > self._renewed_at + self._lease_seconds:
            self._lease = None

    def _lead(self) -> bool:
        if self._lease is not None:
            self._keep_lease()
            return True
        asked_at = self._clock()
        self._lease = self._store.acquire(self._owner, self._lease_seconds)
        if self._lease is None:
            return False
        self._renewed_at = asked_at
        self._page = None
        log.info("relay_leads", owner=self._owner, epoch=self._lease.epoch)
        # Rows that were committed before the watch began are found by the scan that follows it.
        self._store.arm()
        return True

    def _keep_lease(self) -> None:
        self._alive()
        asked_at = self._clock()
        if self._lease is None or asked_at < self._renewed_at + RENEW_AFTER_SECONDS:
            return
        try:
            self._store.renew(self._lease, self._lease_seconds)
        except LeaseLost:
            self._lease = None
            raise
        self._renewed_at = asked_at

    def _plan(self, rows: list[Row], settlement: Settlement) -> list[tuple[Row, Record]]:
        """Choose what may be sent now: of each key an unbroken run from its first row on."""
        now = timezone.now()
        chosen: list[tuple[Row, Record]] = []
        begun: set[Place] = set()
        blocked: set[Place] = set()
        for row in rows:
            if row.place in blocked:
                continue
            if row.due_at is not None and row.due_at > now:
                blocked.add(row.place)
                continue
            try:
                record = build_record(row, self._codec)
            except Poison as exc:
                # Only at the head of its key: what is before it has not been acknowledged yet.
                if row.place in begun or not self._bury(row, None, exc, settlement):
                    blocked.add(row.place)
                continue
            chosen.append((row, record))
            begun.add(row.place)
        return chosen

    def _judge(self, rows: list[Row], results: Results, settlement: Settlement) -> None:
        failed: set[Place] = set()
        for row, error in zip(rows, results, strict=True):
            if row.place in failed:
                continue
            if error is None:
                settlement.published.append(row.event_id)
                continue
            failed.add(row.place)
            if error.code() in REFUSED_FOR_GOOD:
                refusal = Poison("refused_by_broker", f"{error.name()}: {error.str()}")
                self._bury(row, build_record(row, self._codec), refusal, settlement)
            else:
                self._delay(row, f"{error.name()}: {error.str()}", settlement)

    def _bury(
        self, row: Row, record: Record | None, reason: Poison, settlement: Settlement
    ) -> bool:
        """Dead-letter the row, so that its key goes on; False if even that has to wait."""
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
                record or unbuildable(row),
                failure,
                self._sender.send_one,
                event_id=str(row.event_id),
            )
        except KafkaException as exc:
            if exc.args[0].code() not in UNKNOWN_TOPIC:
                raise
            self._delay(row, f"{reason}; and it has no dead-letter topic", settlement)
            return False
        settlement.dead.append((row.event_id, dead_letters.clean(str(reason))))
        log.error("event_dead_lettered", reason=str(reason), kind=reason.kind, **_facts(row))
        return True

    def _delay(self, row: Row, error: str, settlement: Settlement) -> None:
        """Let the row, and with it its key, wait for another try."""
        seconds = spread(FIRST_DELAY_SECONDS, row.attempts + 1, LONGEST_ROW_DELAY_SECONDS)
        due_at = timezone.now() + timedelta(seconds=seconds)
        settlement.delayed.append(
            Delay(event_id=row.event_id, due_at=due_at, error=dead_letters.clean(error))
        )
        log.warning("event_delayed", error=error, seconds=seconds, **_facts(row))

    def _settle(self, settlement: Settlement) -> None:
        if self._lease is None:
            raise LeaseLost(self._owner)
        asked_at = self._clock()
        try:
            self._store.settle(self._lease, self._lease_seconds, settlement)
        except LeaseLost:
            self._lease = None
            raise
        self._renewed_at = asked_at
        self._remember(settlement.published)
        if settlement.published:
            log.debug("events_published", count=len(settlement.published))

    def _remember(self, published: list[uuid.UUID]) -> None:
        self._known.update(published)
        if len(self._known) > MOST_KNOWN:
            # Too far ahead of the change stream: begin it anew, at now.
            self._known.clear()
            self._store.close()
            self._store.arm()

    def _turn_page(self, rows: list[Row], settlement: Settlement) -> bool:
        """Read on behind these rows, all around, so that one key cannot starve the others."""
        settled = {*settlement.published, *(event_id for event_id, _ in settlement.dead)}
        self._round_did_work |= bool(settled)
        if len(rows) == self._batch:
            last = rows[-1]
            # A key that stands still must not hold the page, however many rows it has.
            self._page = Page(
                after=last.aggregate_id,
                is_unfinished=any(
                    row.event_id in settled for row in rows if row.aggregate_id == last.aggregate_id
                ),
            )
            return True
        self._page = None
        did_work, self._round_did_work = self._round_did_work, False
        return did_work


def build_relay() -> Relay:
    """Return the relay of this service's store."""
    return Relay(
        open_store(),
        Codec(Registry.from_settings()),
        Sender(),
        owner=f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}",
        alive=liveness(),
    )


def _facts(row: Row) -> dict[str, object]:
    return {
        "event_id": str(row.event_id),
        "type": row.type,
        "topic": row.topic,
        "key": row.key,
        "version": row.version,
        "attempts": row.attempts,
    }
