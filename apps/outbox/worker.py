"""What all long-running processes share."""

from __future__ import annotations

import random
import signal
import time
from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Protocol

import structlog
from django.conf import settings
from django.core.management.base import DjangoHelpFormatter

log = structlog.get_logger(__name__)

TOUCH_EVERY_SECONDS = 2.0


class Worker(Protocol):
    """A loop that ends after the work in hand when it is told to."""

    def run(self) -> None: ...
    def stop(self) -> None: ...


class HelpFormatter(DjangoHelpFormatter, RawDescriptionHelpFormatter):
    """Keeps the line breaks of a command's description and examples."""


def run_until_signalled(worker: Worker) -> None:
    """Run the worker; SIGTERM and SIGINT let it finish the work in hand."""

    def stop(number: int, _frame: FrameType | None) -> None:
        log.info("stopping", signal=signal.Signals(number).name)
        worker.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    worker.run()


def liveness() -> Callable[[], None]:
    """Return what a loop calls each round, to touch LIVENESS_FILE while it goes round.

    A probe that finds the file older than the longest wait knows that the loop hangs.
    """
    if not settings.LIVENESS_FILE:
        return lambda: None
    path = Path(settings.LIVENESS_FILE)
    touched_at = float("-inf")

    def touch() -> None:
        nonlocal touched_at
        if time.monotonic() >= touched_at + TOUCH_EVERY_SECONDS:
            path.touch()
            touched_at = time.monotonic()

    return touch


def spread(first: float, times: int, longest: float) -> float:
    """Double the wait with each time, and scatter it, so that not all come back at once.

    Args:
        first: seconds, at the most, after the first time.
        times: how often it went wrong.
        longest: where the doubling ends.
    """
    # The exponent is bounded: an outage of days must not overflow.
    delay = min(longest, first * 2.0 ** min(times - 1, 30))
    return random.uniform(delay / 2, delay)  # noqa: S311 (jitter, no secret)
