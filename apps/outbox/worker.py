"""What all long-running processes share."""

from __future__ import annotations

import gc
import os
import random
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Protocol

import structlog

from . import monitoring
from .conf import settings
from .monitoring import liveness as liveness  # noqa: PLC0414 (loops ask for it here)

log = structlog.get_logger(__name__)

SWITCH_SECONDS = 0.001
GARBAGE_AT = 200_000
"""Objects: more than any batch has, and less than a process would miss the memory of."""
STOPPING = frozenset({signal.SIGTERM, signal.SIGINT})


class Worker(Protocol):
    """A loop that ends after the work in hand when it is told to."""

    def run(self) -> None: ...
    def stop(self) -> None: ...


def run_until_signalled(worker: Worker, *, gauges: Callable[[], None] = lambda: None) -> None:
    """Run the worker; SIGTERM and SIGINT let it finish the work in hand.

    A second signal, or STOP_GRACE_SECONDS after the first, end the process at once. Nothing is lost
    by that: what is not marked or committed is done again by the next.

    Args:
        worker: its `run` returns soon after `stop`.
        gauges: called before each scrape of METRICS_ADDRESS, if one is set.
    """
    if settings.METRICS_ADDRESS:
        monitoring.serve(settings.METRICS_ADDRESS, pulse=monitoring.current(), gauges=gauges)
    heard, hears = socket.socketpair()
    hears.settimeout(0)
    signal.set_wakeup_fd(hears.fileno(), warn_on_full_buffer=False)
    for number in STOPPING:
        # Obeyed by a thread: a handler would run only when the loop is back in Python, and could
        # meet the very lock that the loop holds.
        signal.signal(number, lambda *_: None)
    # What Django and the libraries hold stays as long as the process: looking through it again and
    # again for garbage took a sixth of a relay's time. So did looking through the batch in hand, of
    # which nothing is garbage: references that are counted free all of it.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_AT)
    # A thread that comes back from a server waits so long for another to let go. By default that is
    # five times as long, and took a relay, with its reader and marker, a sixth of its rate.
    sys.setswitchinterval(SWITCH_SECONDS)
    with heard, hears:
        threading.Thread(target=_obey, args=(worker, heard), name="signals", daemon=True).start()
        try:
            worker.run()
        finally:
            signal.set_wakeup_fd(-1)


def _obey(worker: Worker, heard: socket.socket) -> None:
    if not (number := _next_signal(heard)):
        return
    log.info("stopping", signal=signal.Signals(number).name)
    monitoring.unwell("It stops.")
    deadline = threading.Timer(settings.STOP_GRACE_SECONDS, _end, ["the grace period is over", 1])
    deadline.daemon = True
    deadline.start()
    worker.stop()
    if number := _next_signal(heard):
        _end("a second signal", 128 + number)


def _next_signal(heard: socket.socket) -> int:
    """Return the next signal to stop, 0 when there will be none."""
    try:
        while received := heard.recv(1):
            if received[0] in STOPPING:
                return received[0]
    except OSError:
        pass  # The worker has ended, and the sockets with it.
    return 0


def _end(why: str, code: int) -> None:
    log.error("stopped_in_the_midst", why=why)
    os._exit(code)


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
