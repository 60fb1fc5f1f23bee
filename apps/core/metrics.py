"""What Prometheus is told of requests; what happens to events is in apps.outbox.metrics."""

from __future__ import annotations

import os

from prometheus_client import REGISTRY, CollectorRegistry, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

requests = Histogram(
    "http_request_seconds",
    "Requests, by the pattern of their address.",
    ("method", "route", "status"),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)


def exposition() -> bytes:
    """Return all metrics of this server as Prometheus' text.

    With PROMETHEUS_MULTIPROC_DIR, a directory that is empty at the start, they are those of all its
    processes, whichever of them is asked.
    """
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return generate_latest(together)
