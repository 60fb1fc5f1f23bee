"""What a consumer makes known of a record it has dealt with, and the cap on its dead letters."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import structlog
from django.utils import timezone

from . import dead_letters, metrics
from .dead_letters import Failure, Record, Send, Stage
from .failures import Poison
from .lanes import Patience
from .receiver import Outcome, known_event_id

HANDLER = "handler"
"""The kind of a failure that another try may mend."""

log = structlog.get_logger(__name__)


class DlqLimit(Exception):
    """So many records fail that the fault is more likely ours than theirs: a person must look."""


class Burials:
    """Makes dead letters of a consumer group's records, until they are too many.

    Args:
        group: the consumer group.
        send: hands a record to Kafka and returns when the broker has it.
        patience: how many in which time are too many.
    """

    def __init__(self, group: str, send: Send, patience: Patience) -> None:
        self._group = group
        self._send = send
        self._patience = patience

    def bury(self, record: Record, failure: Failure) -> None:
        """Make the record a dead letter; twice is harmless.

        Raises:
            DlqLimit: too many records became dead letters.
        """
        window = timedelta(seconds=self._patience.limit_window)
        recent = dead_letters.recent_count(self._group, timezone.now() - window)
        if recent >= self._patience.limit:
            raise DlqLimit(
                f"{recent} records of {self._group} became dead letters within "
                f"{self._patience.limit_window:.0f} s; the next would be for: {failure.message}. "
                "See what is wrong before more follow. Nothing is lost: the record keeps its place."
            )
        dead_letters.bury(record, failure, self._send, event_id=known_event_id(record))
        log.error(
            "message_dead",
            kind=failure.kind,
            error=failure.message,
            attempts=failure.attempts,
            **facts(self._group, record),
        )


def failed(
    group: str, exc: Exception, *, attempts: int, first_failed_at: datetime | None
) -> Failure:
    """Describe a failure of the record itself, the `attempts`-th one."""
    is_poison = isinstance(exc, Poison)
    now = timezone.now()
    return Failure(
        stage=Stage.CONSUMER,
        group=group,
        kind=exc.kind if isinstance(exc, Poison) else HANDLER,
        message=str(exc) if is_poison else f"{type(exc).__qualname__}: {exc}",
        attempts=attempts,
        first_failed_at=first_failed_at or now,
        last_failed_at=now,
    )


def received(group: str, record: Record, outcome: Outcome, **more: Any) -> None:  # noqa: ANN401
    """Count the record and log it, once, when it has been dealt with."""
    metrics.received.labels(group, record.topic, outcome.value).inc()
    if outcome is Outcome.DUPLICATE:
        metrics.inbox_duplicates.labels(group).inc()
    level = log.debug if outcome is Outcome.SKIPPED else log.info
    level("message_received", outcome=outcome.value, **more, **facts(group, record))


def facts(group: str, record: Record) -> dict[str, Any]:
    """Return what a log line says of a record."""
    return {
        "group": group,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "key": (record.key or b"").decode("utf-8", "replace"),
        "event_id": record.header("ce_id"),
        "type": record.header("ce_type"),
        "correlation_id": record.header("ce_correlationid"),
    }
