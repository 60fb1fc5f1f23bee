"""Which events are on their topics already, as far as a raw worker can know."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from . import kafka
from .reading import read_headers

MOST = 50_000
TAIL = 10_000
POLL_SECONDS = 1.0
TIMEOUT_SECONDS = 10.0
BATCH = 5_000


class Recent:
    """The ids of the last events that were sent: at least `most` of them, at most twice as many.

    Two sets that take turns forget in bulk, which costs less than the order of each single id.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()

    def __contains__(self, event_id: bytes) -> bool:
        return event_id in self._young or event_id in self._old

    def add(self, event_ids: Iterable[bytes]) -> None:
        self._young.update(event_ids)
        if len(self._young) >= self._most:
            self._old, self._young = self._young, set()


def ids_at_the_tail(topics: Iterable[str], *, last: int = TAIL) -> list[bytes]:
    """Return the ids of the last records of each partition of the topics, in no order.

    Raises:
        KafkaException: Kafka is away.
    """
    # It reads under this name, and never joins the group or commits for it.
    client = kafka.consumer("outbox-tail")
    try:
        ends = _ends(client, topics)
        client.assign(
            [
                TopicPartition(topic, partition, max(low, high - last))
                for (topic, partition), (low, high) in ends.items()
            ]
        )
        return _read(client, {place: high for place, (_, high) in ends.items()})
    finally:
        client.close()


def _ends(client: Consumer, topics: Iterable[str]) -> dict[tuple[str, int], tuple[int, int]]:
    """Return the first and the next offset of each partition that holds any record."""
    known = client.list_topics(timeout=TIMEOUT_SECONDS).topics
    ends = {}
    for topic in topics:
        for partition in known[topic].partitions if topic in known else ():
            place = TopicPartition(topic, partition)
            low, high = client.get_watermark_offsets(place, timeout=TIMEOUT_SECONDS)
            if high > low:
                ends[topic, partition] = low, high
    return ends


def _read(client: Consumer, until: dict[tuple[str, int], int]) -> list[bytes]:
    found: list[bytes] = []
    while until:
        messages = client.consume(BATCH, POLL_SECONDS)
        for message in messages:
            error = message.error()
            if error is not None:
                raise KafkaException(error)
            event_id = header_of(message, "ce_id")
            if event_id:
                found.append(event_id)
        # Positions pass by what transactions leave behind, which is never read as a message.
        places = [TopicPartition(topic, partition) for topic, partition in until]
        for place in client.position(places):
            if place.offset >= until[place.topic, place.partition]:
                del until[place.topic, place.partition]
    return found


def header_of(message: Message, name: str) -> bytes | None:
    """Return the header's value, or None if there is none, or the headers cannot be read."""
    try:
        headers = read_headers(message) or ()
    except (SystemError, UnicodeDecodeError):
        return None
    for key, value in headers:
        if key == name:
            return value.encode() if isinstance(value, str) else value
    return None
