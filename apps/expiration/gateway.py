"""Celery as expiration's alarm clock: useful while it works, needed never."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta

from celery import Celery
from kombu.exceptions import OperationalError

FIRE_DEADLINE = "expiration.fire_deadline"
SWEEP_DEADLINES = "expiration.sweep_deadlines"

# A worker's clock may stand a little behind the one that compares: an alarm a few milliseconds
# early would do nothing and leave the order to the sweep.
MARGIN = timedelta(milliseconds=20)
PAUSE_SECONDS = 5.0

logger = logging.getLogger(__name__)


class AlarmClock:
    """Sends the task that fires a deadline, to run when the deadline has passed.

    Never raises and never waits long, for it is called by the consumer of orders: what Redis does
    not take, the sweep fires. After a failure nothing is tried for some seconds, so that a Redis
    that swallows packets cannot slow the consumer down to one event per timeout.

    Args:
        celery: an application whose broker is the worker's.
    """

    def __init__(self, celery: Celery, *, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._celery = celery
        self._pause_seconds = pause_seconds
        self._quiet_until = 0.0

    def set(self, *, order_id: str, expires_at: datetime) -> bool:
        """Return whether Redis took the alarm."""
        if time.monotonic() < self._quiet_until:
            return False
        try:
            self._celery.send_task(
                FIRE_DEADLINE,
                kwargs={"order_id": order_id},
                eta=expires_at + MARGIN,
                retry=False,
            )
        except OperationalError as exc:
            self._quiet_until = time.monotonic() + self._pause_seconds
            logger.warning(
                "No alarm for order %s, the sweep will fire its deadline: %s", order_id, exc
            )
            return False
        return True


# Its own application, and not Celery's current one: consumers do not load ticketing.celery. It is
# configured from Django's settings when it is first used, and then by the worker's own options.
_celery = Celery("expiration.alarm", set_as_current=False, fixups=[])
_celery.config_from_object("django.conf:settings", namespace="CELERY")
alarm_clock = AlarmClock(_celery)
