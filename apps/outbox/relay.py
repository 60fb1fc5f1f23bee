"""Sending: committed rows go to their topics, each key in the order of its versions.

Any number of relays divide the keys among them (membership.py). Each reads the rows of its slots
that wait, hands them to Kafka, and marks them after the brokers' acknowledgement, in a transaction
that fails once others count it as dead. While a batch is on its way, the one before it is marked
and the one behind it is read. A crash anywhere loses nothing; what it may repeat is found on the
topics by whoever takes over (tail.py).
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import structlog
from django.db import close_old_connections

from . import metrics, monitoring, tracing
from .aside import Aside
from .codec import Codec
from .conf import settings
from .failures import ErrorKind, LeaseLost, is_outage, kind_of
from .judging import FIRST_DELAY_SECONDS, REFUSED_FOR_GOOD, Judge, Place, Plan
from .kafka import Flight, Sender
from .marking import Marker
from .membership import LEASE_SECONDS, LOOK_SECONDS, Membership, process_name
from .outbound import Outbound
from .paging import beyond, turn
from .records import Row
from .registry import Registry
from .stores import Page, Settlement, Share, Store, open_store
from .tail import read_event_ids
from .worker import liveness, spread

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ("FIRST_DELAY_SECONDS", "REFUSED_FOR_GOOD", "Relay", "build_relay")
log = structlog.get_logger(__name__)

BATCH = 1_000
# What a lost wake-up costs at the most; rows that are to be tried again are looked for more often.
LONGEST_PAUSE_SECONDS = 5.0
MOST_KNOWN = 50_000
LONGEST_OUTAGE_DELAY_SECONDS = 5.0
CAPTURED_LOOK_SECONDS = 10.0


Tail = Callable[..., set[uuid.UUID]]


class Relay:
    """Publishes the rows of one store.

    Args:
        store: the outbox.
        codec: encodes the payloads.
        sender: hands records to Kafka.
        owner: what the names begin with under which it joins the other relays.
        batch: how many rows are read at once.
        lease_seconds: how long the others wait for a relay that has died.
        alive: called with each round of the loop.
        clock: seconds that only grow.
        tail: finds out what a relay that has died had sent.
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
        tail: Tail = read_event_ids,
    ) -> None:
        self._store = store
        self._codec = codec
        self._sender = sender
        self._name = owner
        self._batch = batch
        self._alive = alive
        self._clock = clock
        self._tail = tail
        self._judge = Judge(codec, lambda: sender.send_one)
        self._members = Membership(
            store,
            name=owner,
            seconds=lease_seconds,
            clock=clock,
            joined=sender.adopt,
            fence=sender.fence,
        )
        self._marker = Marker(store, self._members, most=batch)
        self._reader = Aside("reader")
        self._stopping = threading.Event()
        self._flight: tuple[Plan, Flight] | None = None
        self._began = 0
        # Slots of which somebody may have sent rows that are not marked, and what was found so.
        self._doubtful: set[int] = set()
        self._unmarked: set[uuid.UUID] = set()
        self._sent: set[uuid.UUID] = set()
        self._has_early = False
        self._is_cut = False
        self._pause = LOOK_SECONDS
        self._outages = 0
        self._captured_looked_at = float("-inf")
        self._is_held = False
        # What the wake-up will report although it is sent already.
        self._known: set[uuid.UUID] = set()

    @property
    def slots(self) -> tuple[int, ...]:
        """The slots whose keys this relay publishes."""
        return self._members.slots

    def run(self) -> None:
        """Publish until `stop` is called.

        Raises:
            Exception: something is wrong that waiting does not mend.
        """
        log.info("relay_started", owner=self._name)
        try:
            while not self._stopping.is_set():
                self._round()
            self._end()
        finally:
            self.close()

    def stop(self) -> None:
        """End the loop after the batch in hand."""
        self._stopping.set()

    def run_once(self) -> bool:
        """Publish what waits in this relay's slots, and say whether to look again at once.

        Nothing is in flight or unmarked when it returns.

        Raises:
            LeaseLost: the others count this relay as dead.
            Exception: a server is away, which `is_outage` tells, or something is wrong.
        """
        return self._try(lambda: self._publish_all() | self._marker.finish())

    def close(self) -> None:
        """Let go of everything, so that other relays may begin at once."""
        try:
            self._forget_work()
            self._sender.close()
            self._codec.close()
            self._store.close()
            self._members.leave()
        except Exception as exc:
            if not is_outage(exc):
                raise
            log.warning("relay_slots_not_released", error=str(exc))
        finally:
            self._marker.close()
            self._reader.close()
        log.info("relay_stopped", owner=self._name)

    def _round(self) -> None:
        self._alive()
        close_old_connections()
        try:
            # Rows are read while those before them are marked.
            if not self._try(self._publish_all):
                self._try(self._marker.finish)
                self._wait()
        except LeaseLost as exc:
            log.warning("relay_lease_lost", owner=str(exc), error_kind=ErrorKind.FENCED)
        except Exception as exc:
            if kind_of(exc) != ErrorKind.BACKPRESSURE:
                log.critical("relay_failed", error=repr(exc), error_kind=kind_of(exc))
                raise
            self._sit_out(exc)
        else:
            self._outages = 0
            monitoring.well()

    def _try(self, work: Callable[[], bool]) -> bool:
        """Do the work; if it fails, forget what is in hand, and the membership if that is lost."""
        try:
            return work()
        except LeaseLost:
            metrics.lease_lost.inc()
            self._forget_work()
            self._members.forget()
            raise
        except BaseException:
            self._forget_work()
            raise

    def _end(self) -> None:
        """Mark what was sent last."""
        try:
            self._try(self._marker.finish)
        except Exception as exc:
            if not is_outage(exc) and not isinstance(exc, LeaseLost):
                raise
            log.warning("relay_rows_not_marked", error=str(exc))

    def _wait(self) -> None:
        """Wait for new rows, looking about once a second who else is there."""
        deadline = self._clock() + self._pause
        longer = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
        self._pause = LOOK_SECONDS if self._has_early else longer
        while not self._stopping.is_set() and (left := deadline - self._clock()) > 0:
            self._alive()
            seconds = min(left, LOOK_SECONDS)
            if not self._members.slots:
                self._stopping.wait(seconds)
            elif self._store.wait(seconds, self._known):
                self._pause = LOOK_SECONDS
                return
            if self._members.look():
                return

    def _sit_out(self, exc: Exception) -> None:
        """Wait for a server to come back: all rows stay as they are, and no attempt is spent."""
        self._outages += 1
        delay = spread(FIRST_DELAY_SECONDS, self._outages, LONGEST_OUTAGE_DELAY_SECONDS)
        monitoring.outage("relay", exc)
        log.warning(
            "relay_waits_for_a_server",
            error=str(exc),
            error_kind=ErrorKind.BACKPRESSURE,
            times=self._outages,
            delay=delay,
        )
        self._stopping.wait(delay)

    def _publish_all(self) -> bool:
        self._members.look()
        if self._members.is_unbalanced or self._marker.has_exceptions:
            self._marker.finish()
        if self._members.is_unbalanced:
            self._members.share_out()
            self._doubtful |= self._members.orphans
            self._doubtful &= {*self._members.slots}
            self._members.orphans.clear()
        if not self._members.slots or self._is_held_by_captured():
            return False
        # Rows that are committed from here on are reported; the others are read now.
        self._store.arm(self._members.shares)
        if self._doubtful:
            self._read_tail()
        self._has_early = self._is_cut = False
        # From before the first read, which finds no row that is marked by then.
        self._unmarked = self._marker.unmarked()
        did_work = False
        for share in self._members.shares:
            did_work |= self._go_through(share)
            if self._is_cut:
                break
        if not self._is_cut:
            self._sent = set()
        return did_work or self._is_cut

    def _go_through(self, share: Share) -> bool:
        """Send what waits in a run of slots, page by page, each read while the last one is sent."""
        did_work = False
        limit = self._batch
        edge: frozenset[uuid.UUID] = frozenset()
        stuck: set[Place] = set()
        ahead: Future[list[Row]] | None = None
        read = self._store.pending(Page(share.first), share.last, limit)
        while True:
            rows = beyond(edge, read)
            if self._unmarked:
                rows = [row for row in rows if row.event_id not in self._unmarked]
            plan = self._judge.plan(rows, stuck, self._sent)
            self._has_early |= plan.has_early
            if len(read) < limit:
                ahead = None
            else:
                page, edge = turn(read, plan.blocked | stuck)
                limit = self._batch + len(edge)
                ahead = self._reader.do(self._store.pending, page, share.last, limit)
            did_work |= self._land(stuck)
            did_work |= self._begin(plan, stuck)
            if ahead is None:
                break
            if self._stopping.is_set() or self._members.look():
                self._is_cut = True
                break
            read = ahead.result()
        did_work |= self._land(stuck)
        return did_work

    def _begin(self, plan: Plan, stuck: set[Place]) -> bool:
        """Send a batch, with none in flight: first what hinders its keys is put aside."""
        if plan.repeated:
            self._mark(self._judge.repeated(plan.repeated))
        for row, reason in plan.poison:
            if row.place not in stuck:
                settlement = self._judge.bury(row, None, reason)
                if settlement.delayed:
                    stuck.add(row.place)
                self._mark(settlement)
        batch = plan.without(stuck) if stuck else plan
        if batch.rows:
            metrics.batch_size.observe(len(batch.rows))
            self._members.keep()
            self._began = time.time_ns()
            self._flight = batch, self._sender.begin(batch.records, waiting=self._keep)
        # What was acknowledged is marked while the brokers take these.
        self._marker.start()
        return bool(plan.repeated or plan.poison)

    def _land(self, stuck: set[Place]) -> bool:
        if self._flight is None:
            return False
        plan, flight = self._flight
        results = self._sender.land(flight, waiting=self._keep)
        self._flight = None
        monitoring.well()
        arrived = (each for each, error in zip(plan.records, results, strict=True) if not error)
        tracing.sent(arrived, self._began)
        settlement = self._judge.judge(plan.rows, plan.records, results, stuck)
        self._mark(settlement)
        self._marker.start()
        return bool(settlement.published or settlement.dead)

    def _mark(self, settlement: Settlement) -> None:
        self._marker.add(settlement)
        self._remember(settlement.published)

    def _keep(self) -> None:
        self._alive()
        self._members.keep()

    def _look_on(self) -> None:
        """Keep the lease, and shut out who has lost theirs: what they left open is waited for."""
        self._keep()
        self._members.look()

    def _read_tail(self) -> None:
        """Find out which rows are on their topics already, though nobody could mark them."""
        slots = sorted(self._doubtful)
        topics = self._store.backlog(slots)
        if topics:
            self._sent |= self._tail(topics, waiting=self._look_on)
        log.info("relay_read_tail", slots=len(slots), topics=list(topics), found=len(self._sent))
        self._doubtful.clear()

    def _is_held_by_captured(self) -> bool:
        """Say whether rows that were handed to Debezium may still be under way to their topics."""
        if settings.OUTBOX_TRANSPORT != "relay":
            return False
        now = self._clock()
        wait = LOOK_SECONDS if self._is_held else CAPTURED_LOOK_SECONDS
        if now >= self._captured_looked_at + wait:
            self._captured_looked_at = now
            was_held, self._is_held = self._is_held, self._store.has_captured()
            if self._is_held and not was_held:
                log.error(
                    "relay_waits_for_captured_rows",
                    reason="Rows were handed to Debezium and may still be under way: sending now "
                    "could overtake them. Run: manage.py switch_transport",
                )
        return self._is_held

    def _forget_work(self) -> None:
        """Forget what is in hand: after a pause, another relay may have gone further."""
        if self._marker.forget() or self._flight is not None:
            self._flight = None
            self._sender.abandon()
            self._doubtful |= {*self._members.slots}

    def _remember(self, published: Iterable[uuid.UUID]) -> None:
        self._known.update(published)
        if len(self._known) > MOST_KNOWN:
            # Too far ahead of the change stream: begin it anew, at now.
            self._known.clear()
            self._store.close()
            self._store.arm(self._members.shares)


def build_relay() -> Relay:
    """Return the relay of this service's store."""
    return Relay(
        open_store(),
        Codec(Registry.from_settings()),
        Sender(is_fenced=settings.OUTBOX_RELAY_FENCING == "broker"),
        owner=process_name(),
        alive=liveness(),
    )
