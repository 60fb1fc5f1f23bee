"""Where topics begin and end, and how far a consumer group is, without joining it."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

KAFKA_SECONDS = 10.0

Place = tuple[str, int]
Offsets = dict[Place, int]


def committed(admin: AdminClient, group: str) -> Offsets:
    """Return the group's offsets, of the partitions that it has committed one for.

    Raises:
        KafkaException: Kafka is away.
    """
    [answer] = admin.list_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(group)], request_timeout=KAFKA_SECONDS
    ).values()
    places = answer.result(2 * KAFKA_SECONDS).topic_partitions
    return {(each.topic, each.partition): each.offset for each in places if each.offset >= 0}


def begins(admin: AdminClient, places: Iterable[Place]) -> Offsets:
    """Return the offset of each partition's first record that is still there.

    Raises:
        KafkaException: Kafka is away.
    """
    return _offsets(admin, places, OffsetSpec.earliest())  # type: ignore[no-untyped-call]


def ends(admin: AdminClient, places: Iterable[Place]) -> Offsets:
    """Return the offset that each partition's next record will have.

    Raises:
        KafkaException: Kafka is away.
    """
    return _offsets(admin, places, OffsetSpec.latest())  # type: ignore[no-untyped-call]


def _offsets(admin: AdminClient, places: Iterable[Place], which: OffsetSpec) -> Offsets:
    wanted = {TopicPartition(*place): which for place in places}
    asked = admin.list_offsets(wanted, request_timeout=KAFKA_SECONDS) if wanted else {}
    return {
        (place.topic, place.partition): answer.result(2 * KAFKA_SECONDS).offset
        for place, answer in asked.items()
    }
