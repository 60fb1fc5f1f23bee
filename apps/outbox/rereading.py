"""Reading a topic up to its present end, beside the groups that consume it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from . import kafka
from .consumer import to_record
from .dead_letters import Record
from .failures import Unavailable

SILENCE_SECONDS = 30.0


class NoSuchTopic(Exception):
    """The topic does not exist."""


def read_records(topic: str, since: datetime | None = None) -> Iterator[Record]:
    """Yield the topic's records as far as they are committed now, each partition in order.

    Args:
        topic: its name.
        since: leave out what was sent before this time.

    Raises:
        NoSuchTopic: there is none of that name.
        Unavailable: Kafka says nothing for half a minute.
        KafkaException: Kafka is away.
    """
    client = kafka.consumer(
        f"reread-{uuid.uuid4().hex}",
        **{"enable.partition.eof": True, "queued.max.messages.kbytes": 16_384},
    )
    try:
        known = client.list_topics(topic, timeout=SILENCE_SECONDS).topics[topic]
        if known.error is not None:
            if known.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise NoSuchTopic(f"There is no topic {topic}.")
            raise KafkaException(known.error)
        open_partitions = set(known.partitions)
        client.assign(_starts(client, topic, open_partitions, since))
        while open_partitions:
            polled = _poll(client, topic)
            error = polled.error()
            if error is None:
                yield to_record(polled)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 (Kafka names it so)
                open_partitions.discard(polled.partition())
    finally:
        client.close()


def _starts(
    client: Consumer, topic: str, partitions: set[int], since: datetime | None
) -> list[TopicPartition]:
    if since is None:
        return [TopicPartition(topic, each, OFFSET_BEGINNING) for each in partitions]
    at = int(since.timestamp() * 1000)
    asked = [TopicPartition(topic, each, at) for each in partitions]
    found: list[TopicPartition] = client.offsets_for_times(asked, timeout=SILENCE_SECONDS)
    return found


def _poll(client: Consumer, topic: str) -> Any:  # noqa: ANN401 (the client has no type of it)
    deadline = time.monotonic() + SILENCE_SECONDS
    while (polled := client.poll(1.0)) is None:
        if time.monotonic() > deadline:
            raise Unavailable(f"Kafka has said nothing of {topic} for {SILENCE_SECONDS:.0f} s.")
    return polled
