"""What Prometheus is told of the last look."""

from __future__ import annotations

from prometheus_client import Gauge

differences = Gauge(
    "payments_reconciliation_differences",
    "What provider, payments, orders and tickets say differently, at the last look.",
    ("kind",),
)
reconciled_at = Gauge(
    "payments_reconciliation_timestamp_seconds",
    "When they were last compared to the end, in Unix time; 0 before that.",
)
