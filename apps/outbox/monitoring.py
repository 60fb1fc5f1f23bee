"""What a worker tells the outside: metrics, whether it lives, and whether it can do its work."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import orjson
import structlog
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from prometheus_client import make_wsgi_app

from . import metrics
from .conf import settings
from .failures import is_outage

log = structlog.get_logger(__name__)

TOUCH_EVERY_SECONDS = 2.0
FRESH_SECONDS = 5.0

Clock = Callable[[], float]


class Pulse:
    """Whether a loop goes round, and whether its last round could do its work.

    A loop calls it each round, however long an outage lasts: who hangs is to be restarted, who
    waits is not. LIVENESS_FILE, where there is one, is touched by the same rounds.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._beat_at = clock()
        self._touched_at = -math.inf
        self.trouble = "It has not begun."
        """Why no work can be done at the moment; empty while all is well."""

    def __call__(self) -> None:
        """Note that the loop went round."""
        self._beat_at = self._clock()
        if settings.LIVENESS_FILE and self._beat_at >= self._touched_at + TOUCH_EVERY_SECONDS:
            Path(settings.LIVENESS_FILE).touch()
            self._touched_at = self._beat_at

    @property
    def age(self) -> float:
        """Seconds since the loop last went round."""
        return self._clock() - self._beat_at

    @property
    def is_alive(self) -> bool:
        return self.age <= settings.LIVENESS_SECONDS


_pulse: Pulse | None = None


def liveness() -> Pulse:
    """Return the pulse of this process, for its loop to call each round."""
    global _pulse  # noqa: PLW0603 (a process has one loop, and its probes must find it)
    _pulse = Pulse()
    return _pulse


def current() -> Pulse | None:
    """Return the pulse of this process's loop, if it has one."""
    return _pulse


def well() -> None:
    """Note that a round ended without an outage: the process is ready."""
    if _pulse is not None:
        _pulse.trouble = ""


def unwell(trouble: str) -> None:
    """Note why no work can be done; the process is not ready until it is `well` again."""
    if _pulse is not None:
        _pulse.trouble = trouble


def outage(worker: str, exc: Exception) -> None:
    """Count a round in which a server was away.

    Args:
        worker: relay, consumer, raw, or another one's name.
        exc: what says so.
    """
    metrics.outages.labels(worker).inc()
    unwell(f"{type(exc).__name__}: {exc}")


def store_gauges(measure: Callable[[], None], clock: Clock = time.monotonic) -> Callable[[], None]:
    """Return what measures the store at a scrape, and not again within a few seconds.

    A store that is away makes them NaN: no number is better than yesterday's.
    """
    lock = threading.Lock()
    measured_at = -math.inf

    def refresh() -> None:
        nonlocal measured_at
        # Whoever comes while another waits for a slow store takes what there is.
        if not lock.acquire(blocking=False):
            return
        try:
            if clock() < measured_at + FRESH_SECONDS:
                return
            try:
                measure()
            except Exception as exc:
                if not is_outage(exc):
                    raise
                for gauge in (metrics.pending, metrics.oldest_pending_age, metrics.keys_blocked):
                    gauge.set(math.nan)
                metrics.dlq_depth.clear()
            measured_at = clock()
        finally:
            lock.release()

    return refresh


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of METRICS_ADDRESS, such as 127.0.0.1:9101 or [::]:9101."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def serve(
    address: str, *, pulse: Pulse | None, gauges: Callable[[], None] = lambda: None
) -> ThreadedWSGIServer:
    """Answer /metrics, /healthz and /readyz in a thread of its own that ends with the process.

    Args:
        address: host:port, where no stranger comes.
        pulse: of the process's loop; without one it lives and is ready while it answers.
        gauges: called before each scrape, to set what is measured only then.

    Raises:
        OSError: the address is taken.
    """
    host, port = split_address(address)
    server = ThreadedWSGIServer((host, port), _Handler, ipv6=":" in host)
    server.set_app(_application(pulse, gauges))
    threading.Thread(target=server.serve_forever, name="monitoring", daemon=True).start()
    log.info("monitoring_served", address=address)
    return server


class _Handler(WSGIRequestHandler):
    """Forgets silent clients, and does not log each probe."""

    timeout = 30

    def log_message(self, *_args: Any) -> None:  # noqa: ANN401 (its own signature)
        pass


def _application(
    pulse: Pulse | None, gauges: Callable[[], None]
) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    exposition = make_wsgi_app()

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        fault = ""
        match environ["PATH_INFO"]:
            case "/metrics":
                gauges()
                answer: Iterable[bytes] = exposition(environ, start_response)
                return answer
            case "/healthz":
                if pulse is not None and not pulse.is_alive:
                    fault = f"The loop has not gone round for {pulse.age:.0f} s."
            case "/readyz":
                if pulse is not None:
                    fault = pulse.trouble if pulse.is_alive else "The loop hangs."
            case _:
                return _answer(start_response, HTTPStatus.NOT_FOUND, "not_found")
        if fault:
            return _answer(start_response, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", fault)
        return _answer(start_response, HTTPStatus.OK, "ok")

    return application


def _answer(
    start_response: StartResponse, code: HTTPStatus, status: str, fault: str = ""
) -> Iterable[bytes]:
    facts = {"status": status, "service": settings.SERVICE_NAME} | ({"why": fault} if fault else {})
    body = orjson.dumps(facts)
    start_response(
        f"{code.value} {code.phrase}",
        [("Content-Type", "application/json"), ("Content-Length", str(len(body)))],
    )
    return [body]
