"""Reconciling now and then, beside the settler, for those who watch the metrics."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta

import structlog
from django.db import connections
from django.utils import timezone

from apps.outbox.failures import is_outage
from apps.payments.gateway import ProviderRefused, ProviderUnsure
from apps.payments.reconciliation import metrics
from apps.payments.reconciliation.difference import Kind
from apps.payments.reconciliation.running import Reconciler

FIRST_AFTER_SECONDS = 60.0

log = structlog.get_logger(__name__)


class Regularly:
    """Compares all sides in a thread of its own, again and again, and changes nothing.

    Args:
        reconciler: compares them.
        every: seconds between two comparisons.
        back: how old a payment may be to be looked at still.
    """

    def __init__(self, reconciler: Reconciler, *, every: float, back: timedelta) -> None:
        self._reconciler = reconciler
        self._every = every
        self._back = back
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciliation", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Let no further comparison begin; one that runs ends with the process."""
        self._stopping.set()

    def look(self) -> None:
        """Compare once, and tell Prometheus; when a side is away, the old figures stay."""
        try:
            outcome = self._reconciler.run(timezone.now() - self._back)
        except Exception as exc:
            if not isinstance(exc, ProviderUnsure | ProviderRefused) and not is_outage(exc):
                raise
            log.warning("reconciliation_not_possible", why=str(exc))
            return
        counts = Counter(each.kind for each in outcome.differences)
        for kind in Kind:
            metrics.differences.labels(kind.value).set(counts[kind])
        metrics.reconciled_at.set_to_current_time()
        log.info("reconciled", orders=outcome.orders, differences=len(outcome.differences))

    def _run(self) -> None:
        wait = min(self._every, FIRST_AFTER_SECONDS)
        while not self._stopping.wait(wait):
            wait = self._every
            try:
                self.look()
            except Exception:
                log.exception("reconciliation_failed")
            finally:
                connections.close_all()
