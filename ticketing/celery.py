"""The Celery application of the expiration service: worker and beat."""

from __future__ import annotations

import logging
from typing import Any

import django
from celery import Celery
from celery.beat import ScheduleEntry, Scheduler, SchedulingError
from celery.signals import beat_init, setup_logging, worker_init
from django.conf import settings
from kombu import Producer

from apps.outbox import monitoring
from ticketing import telemetry

# Each of these has something to say about every sweep, which runs each second.
NOISY = ("celery.beat", "celery.worker.strategy", "celery.app.trace")

logger = logging.getLogger(__name__)

# Celery would do this too, but from a signal whose failure it only logs: the worker then runs on
# without a single task, where a missing setting should stop it.
django.setup()
telemetry.set_up()

app = Celery("ticketing")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def keep_the_logging_of_django(**_: object) -> None:
    """Celery sets logging up by itself unless this signal has a receiver."""
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


@worker_init.connect
@beat_init.connect
def tell_how_it_goes(**_: object) -> None:
    """Serve metrics and probes. The worker's loop is Celery's own, and has no pulse."""
    if settings.METRICS_ADDRESS:
        monitoring.serve(settings.METRICS_ADDRESS, pulse=monitoring.current())


class SelfReliantScheduler(Scheduler):
    """Keeps the schedule in memory, and runs a task in beat itself while Redis takes none.

    Expiry then needs no Redis at all. That matters after an outage, too: workers wait up to half
    a minute between two attempts to connect, and Celery has no setting for it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 (Celery's own)
        self._alive = monitoring.liveness()
        super().__init__(*args, **kwargs)
        self._last_tick = self.app.now()

    def tick(self, *args: Any, **kwargs: Any) -> float:  # noqa: ANN401
        self._alive()
        self._start_over_if_set_back()
        seconds: float = super().tick(*args, **kwargs)
        monitoring.well()
        return seconds

    def _start_over_if_set_back(self) -> None:
        """Count all intervals from now when the clock was set back.

        Beat notes at which time of day a task is due, and would send nothing before that time has
        come again: after a clock that was an hour ahead, no sweep for an hour.
        """
        now = self.app.now()
        if now < self._last_tick:
            for entry in self.schedule.values():
                entry.last_run_at = now
            self.populate_heap()
        self._last_tick = now

    @property
    def producer(self) -> Producer:
        """Connects when it is used: Celery's own waits for Redis before beat's first tick."""
        producer: Producer = self.app.amqp.Producer(self.connection, auto_declare=False)
        return producer

    def apply_async(
        self,
        entry: ScheduleEntry,
        producer: Producer | None = None,
        advance: bool = True,  # noqa: FBT001, FBT002 (Celery's signature)
        **options: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        try:
            return super().apply_async(entry, producer=producer, advance=advance, **options)
        except SchedulingError as exc:
            logger.warning("Beat runs %s itself: %s", entry.task, exc)
            return app.tasks[str(entry.task)].apply(kwargs=entry.kwargs)
