"""Beat's scheduler and the time of day, which may be set while beat runs."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from celery import Celery
from celery.utils.imports import symbol_by_name
from django.conf import settings

from apps.expiration.tests.factories import NOON

[SWEEP] = settings.CELERY_BEAT_SCHEDULE
SECONDS = settings.CELERY_BEAT_SCHEDULE[SWEEP]["schedule"]
HOUR = timedelta(hours=1)


@pytest.fixture
def scheduler():
    celery = Celery("expiration.test", broker="memory://", set_as_current=False, fixups=[])
    celery.conf.beat_schedule = settings.CELERY_BEAT_SCHEDULE
    celery.conf.beat_max_loop_interval = settings.CELERY_BEAT_MAX_LOOP_INTERVAL
    with time_machine.travel(NOON, tick=False):
        yield symbol_by_name(settings.CELERY_BEAT_SCHEDULER)(app=celery)


def sweeps_after(scheduler, clock):
    """Return how many sweeps beat sends in the ten intervals that follow."""
    before = scheduler.schedule[SWEEP].total_run_count
    for _ in range(10):
        clock.shift(SECONDS)
        while scheduler.tick() == 0:
            pass
    return scheduler.schedule[SWEEP].total_run_count - before


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["ahead", "back"])
def test_sweeps_go_on_when_the_clock_jumps(scheduler, jump):
    with time_machine.travel(NOON + HOUR, tick=False) as clock:
        assert sweeps_after(scheduler, clock) >= 9

        clock.shift(jump)

        assert sweeps_after(scheduler, clock) >= 9
