"""Records on their way through the retry tiers: topics where each waits for as long as the next.

A copy there is the record as it was, with our headers behind its own. They say where it comes from
first, so that its event, its place in the inbox and its dead letter are the same ones from each
tier, and twice the same copy is harmless.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from confluent_kafka import KafkaException

from . import metrics
from .dead_letters import TOO_LARGE, Failure, Headers, Record, Send
from .lanes import Entry
from .topics import home_topic, tier_name, tier_topic

FROM_TOPIC = "outbox-retry-topic"
FROM_PARTITION = "outbox-retry-partition"
FROM_OFFSET = "outbox-retry-offset"
ATTEMPTS = "outbox-retry-attempts"
FIRST_FAILED_AT = "outbox-retry-first-failed-at"
DUE_AT = "outbox-retry-due-at"
NAMES = (FROM_TOPIC, FROM_PARTITION, FROM_OFFSET, ATTEMPTS, FIRST_FAILED_AT, DUE_AT)


class Tiers:
    """Sends records of a consumer group to their tiers.

    Args:
        group: the consumer group.
        send: hands a record to Kafka and returns when the broker has it.
    """

    def __init__(self, group: str, send: Send) -> None:
        self._group = group
        self._send = send

    def has_taken(self, record: Record, failure: Failure, delay: int) -> bool:
        """Send the record to the tier of that delay; False if it is too large with our headers."""
        topic = tier_topic(home_topic(record.topic, self._group), self._group, delay)
        try:
            self._send(topic, record.key, record.value, wrap(record, failure, delay))
        except KafkaException as exc:
            if exc.args[0].code() not in TOO_LARGE:
                raise
            return False
        metrics.retry_tier.labels(self._group, tier_name(delay)).inc()
        return True


def wrap(record: Record, failure: Failure, delay: int) -> Headers:
    """Return the headers of the record's copy in the tier of that delay."""
    due_at = failure.last_failed_at + timedelta(seconds=delay)
    ours = (
        record.topic,
        record.partition,
        record.offset,
        failure.attempts,
        failure.first_failed_at.isoformat(),
        due_at.isoformat(),
    )
    return record.headers + tuple(
        (name, str(value).encode()) for name, value in zip(NAMES, ours, strict=True)
    )


def unwrap(record: Record) -> Entry:
    """Return what is to be done for a record that was read: of a tier's copy, the record itself."""
    offset = record.offset or 0
    ours = record.headers[-len(NAMES) :]
    if tuple(name for name, _ in ours) != NAMES:
        return Entry(record=record, offset=offset)
    try:
        topic, partition, first, attempts, first_failed_at, due_at = (
            (value or b"").decode() for _, value in ours
        )
        return Entry(
            record=record._replace(
                topic=topic,
                partition=int(partition),
                offset=int(first),
                headers=record.headers[: -len(NAMES)],
            ),
            offset=offset,
            attempts=int(attempts),
            first_failed_at=_instant(first_failed_at),
            due_at=_instant(due_at),
        )
    except ValueError:
        # Nobody but us writes these. Then it is a record like any other, and has our headers.
        return Entry(record=record, offset=offset)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
