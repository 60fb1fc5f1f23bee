from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

import structlog
from django.db import DatabaseError, close_old_connections
from django.utils import timezone

from apps.payments import selectors, services
from apps.payments.gateway import Gateway

IDLE_SECONDS = 0.15
AWAY_SECONDS = 1.0
BATCH = 50

log = structlog.get_logger(__name__)


class Settler:
    """Ends what the requests left open: unknown outcomes, closing payments, refunds, webhooks.

    Any number may run: each attempt is taken by a conditional update, and what is asked of the
    provider has the same key whoever asks.

    Args:
        gateway: the provider.
        clock: the time by which attempts are due.
        alive: called each round, and after each attempt: a batch of them may take minutes.
    """

    def __init__(
        self,
        gateway: Gateway,
        *,
        clock: Callable[[], datetime] = timezone.now,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._gateway = gateway
        self._clock = clock
        self._alive = alive
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.is_set():
            self._alive()
            try:
                worked = self.run_once()
            except DatabaseError as exc:
                log.warning("the database is away; waiting", why=str(exc))
                self._stopped.wait(AWAY_SECONDS)
                continue
            if not worked:
                self._stopped.wait(IDLE_SECONDS)

    def run_once(self) -> bool:
        """Process what is stored and due; tell whether there was anything."""
        close_old_connections()
        webhooks = selectors.list_stored_webhooks(limit=BATCH)
        for event in webhooks:
            services.process_webhook(event=event, now=self._clock())
        attempts = selectors.list_attempts_to_settle(now=self._clock(), limit=BATCH)
        for attempt in attempts:
            if self._stopped.is_set():
                break
            services.settle_attempt(attempt=attempt, gateway=self._gateway, clock=self._clock)
            self._alive()
        refunds = selectors.list_attempts_to_refund(now=self._clock(), limit=BATCH)
        for attempt in refunds:
            if self._stopped.is_set():
                break
            services.settle_refunds(attempt=attempt, gateway=self._gateway, clock=self._clock)
            self._alive()
        disputes = selectors.list_disputes_to_settle(now=self._clock(), limit=BATCH)
        for dispute in disputes:
            if self._stopped.is_set():
                break
            services.settle_dispute(dispute=dispute, gateway=self._gateway, clock=self._clock)
            self._alive()
        return bool(webhooks or attempts or refunds or disputes)

    def stop(self) -> None:
        self._stopped.set()
