"""What the reports of a run share: what counts as a failure, percentiles, and how pictures look."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import quantiles
from typing import Any

from prove.load import NO_ANSWER, Told

INK, OURS, BAD = "#7d8590", "#2f81f7", "#bc4c00"
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "prove",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "grid.color": INK,
    "grid.alpha": 0.25,
}
SERVER_ERROR = 500
Row = tuple[str, ...]


def is_failure(told: Told) -> bool:
    """Whether the client got no answer, or an error page."""
    return told.status == NO_ANSWER or told.status >= SERVER_ERROR


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile, 0 of nothing."""
    if len(values) < 2:  # noqa: PLR2004
        return values[0] if values else 0.0
    return quantiles(values, n=100, method="inclusive")[percent - 1]
