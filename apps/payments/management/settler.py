from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TypeVar

import structlog
from django.db import DatabaseError, close_old_connections
from django.utils import timezone

from apps.outbox import monitoring
from apps.payments import selectors, services
from apps.payments.gateway import Gateway

IDLE_SECONDS = 0.15
AWAY_SECONDS = 1.0
BATCH = 50

T = TypeVar("T")
log = structlog.get_logger(__name__)


class Settler:
    """Ends what the requests left open: unknown outcomes, closing payments, refunds, webhooks.

    Any number may run: each attempt is taken by a conditional update, and what is asked of the
    provider has the same key whoever asks.

    Args:
        gateway: the provider.
        at_once: how many attempts it asks the provider about at the same time, so that one whose
            answer does not come does not keep the others waiting.
        clock: the time by which attempts are due.
        alive: called each round, and after each attempt: a batch of them may take minutes.
    """

    def __init__(
        self,
        gateway: Gateway,
        *,
        at_once: int = 1,
        clock: Callable[[], datetime] = timezone.now,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._gateway = gateway
        self._at_once = at_once
        self._clock = clock
        self._alive = alive
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.is_set():
            self._alive()
            try:
                worked = self.run_once()
            except DatabaseError as exc:
                monitoring.outage("settler", exc)
                log.warning("the database is away; waiting", why=str(exc))
                self._stopped.wait(AWAY_SECONDS)
                continue
            monitoring.well()
            if not worked:
                self._stopped.wait(IDLE_SECONDS)

    def run_once(self) -> bool:
        """Process what is stored and due; tell whether there was anything."""
        close_old_connections()
        webhooks = selectors.list_stored_webhooks(limit=BATCH)
        for event in webhooks:
            services.process_webhook(event=event, now=self._clock())
        attempts = selectors.list_attempts_to_settle(now=self._clock(), limit=BATCH)
        self._for_each(
            attempts,
            lambda attempt: services.settle_attempt(
                attempt=attempt, gateway=self._gateway, clock=self._clock
            ),
        )
        refunds = selectors.list_attempts_to_refund(now=self._clock(), limit=BATCH)
        self._for_each(
            refunds,
            lambda attempt: services.settle_refunds(
                attempt=attempt, gateway=self._gateway, clock=self._clock
            ),
        )
        disputes = selectors.list_disputes_to_settle(now=self._clock(), limit=BATCH)
        self._for_each(
            disputes,
            lambda dispute: services.settle_dispute(
                dispute=dispute, gateway=self._gateway, clock=self._clock
            ),
        )
        return bool(webhooks or attempts or refunds or disputes)

    def stop(self) -> None:
        self._stopped.set()

    def _for_each(self, subjects: list[T], settle: Callable[[T], None]) -> None:
        """Settle each, some at a time; once stopped, none is begun any more."""

        def settle_one(subject: T) -> None:
            if not self._stopped.is_set():
                settle(subject)

        workers = min(self._at_once, len(subjects))
        if workers <= 1:
            self._watch(map(settle_one, subjects))
            return
        with ThreadPoolExecutor(workers, thread_name_prefix="settler") as pool:
            self._watch(pool.map(settle_one, subjects))

    def _watch(self, settled: Iterable[None]) -> None:
        for _ in settled:
            self._alive()
