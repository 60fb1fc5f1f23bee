"""The Celery application of the expiration service: worker and beat."""

from __future__ import annotations

import logging
from typing import Any

import django
from celery import Celery
from celery.beat import ScheduleEntry, Scheduler, SchedulingError
from celery.signals import setup_logging
from kombu import Producer

# Each of these has something to say about every sweep, which runs each second.
NOISY = ("celery.beat", "celery.worker.strategy", "celery.app.trace")

logger = logging.getLogger(__name__)

# Celery would do this too, but from a signal whose failure it only logs: the worker then runs on
# without a single task, where a missing setting should stop it.
django.setup()

app = Celery("ticketing")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def keep_the_logging_of_django(**_: object) -> None:
    """Celery sets logging up by itself unless this signal has a receiver."""
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


class SelfReliantScheduler(Scheduler):
    """Keeps the schedule in memory, and runs a task in beat itself while Redis takes none.

    Expiry then needs no Redis at all. That matters after an outage, too: workers wait up to half
    a minute between two attempts to connect, and Celery has no setting for it.
    """

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
