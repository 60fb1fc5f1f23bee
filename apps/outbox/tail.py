"""What a relay that has died sent and could not mark any more: the tails of its topics tell."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import datetime, timedelta

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from . import kafka

log = structlog.get_logger(__name__)

# Between the clocks of a web server and of a relay, by which records are stamped.
CLOCK_SKEW = timedelta(seconds=60)
# What one relay has in flight is a part of this; the rest is what others sent after it.
MOST_RECORDS = 20_000
TIMEOUT_SECONDS = 10.0
# As long as the broker keeps a transaction open that nobody ends (clients.py).
LONGEST_SECONDS = 30.0
AT_ONCE = 1_000


def read_event_ids(
    topics: Mapping[str, datetime], *, waiting: Callable[[], None] = lambda: None
) -> set[uuid.UUID]:
    """Return the ids of the events that are on the topics since these times.

    Another relay's open transaction hides from readers all that was committed behind its first
    record. Its end is waited for: whoever has begun it, or fences that relay, brings it about.

    Only the last records of each partition are looked at. Where nothing can be read, nothing is
    known: its events are sent again, which readers must bear with anyway.

    Args:
        topics: each with the time of its oldest event that may be there.
        waiting: called again and again; what it raises ends the reading.
    """
    found: set[uuid.UUID] = set()
    # No group's offsets are read or written: the partitions are assigned by hand.
    with (
        closing(kafka.consumer("outbox-tail", **{"enable.partition.eof": True})) as client,
        closing(kafka.consumer("outbox-tail", **{"isolation.level": "read_uncommitted"})) as whole,
    ):
        for topic, since in topics.items():
            try:
                _read(client, whole, topic, since - CLOCK_SKEW, found, waiting)
            except KafkaException as exc:
                log.warning("tail_not_read", topic=topic, error=str(exc))
    return found


def _read(  # noqa: PLR0913, PLR0917 (two clients, and what they are for)
    client: Consumer,
    whole: Consumer,
    topic: str,
    since: datetime,
    found: set[uuid.UUID],
    waiting: Callable[[], None],
) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    known = client.list_topics(topic, timeout=TIMEOUT_SECONDS).topics[topic]
    if known.error is not None:
        raise KafkaException(known.error)
    moment = round(since.timestamp() * 1000)
    # To the one that reads what is committed, the topic ends where a transaction is open.
    wanted = whole.offsets_for_times(
        [TopicPartition(topic, number, moment) for number in known.partitions],
        timeout=TIMEOUT_SECONDS,
    )
    starts: list[TopicPartition] = []
    unread: dict[int | None, int] = {}
    for place in wanted:
        low, high = whole.get_watermark_offsets(place, timeout=TIMEOUT_SECONDS)
        first = place.offset if place.offset >= 0 else high
        start = max(low, first, high - MOST_RECORDS)
        if start < high:
            starts.append(TopicPartition(topic, place.partition, start))
            unread[place.partition] = high
    client.assign(starts)
    while unread:
        waiting()
        if time.monotonic() > deadline:
            raise KafkaException(
                KafkaError(KafkaError._TIMED_OUT, "the tail was too long")  # noqa: SLF001
            )
        for message in client.consume(AT_ONCE, timeout=0.5):
            error = message.error()
            if error is None:
                _note(dict(message.headers() or {}).get("ce_id"), found)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                if (message.offset() or 0) >= unread.get(message.partition(), 0):
                    unread.pop(message.partition(), None)
            else:
                raise KafkaException(error)
    client.unassign()


def _note(event_id: str | bytes | None, found: set[uuid.UUID]) -> None:
    try:
        found.add(uuid.UUID(event_id.decode() if isinstance(event_id, bytes) else event_id))
    except (ValueError, TypeError):
        return  # not one of ours
