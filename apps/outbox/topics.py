"""Topics as data: a project lists its own in settings.OUTBOX_TOPICS."""

from __future__ import annotations

from dataclasses import dataclass

FOREVER = -1


@dataclass(frozen=True)
class Topic:
    """A topic to create.

    Args:
        name: Kafka's name of it.
        partitions: how many; can only grow, and growing moves keys to other partitions.
        retention_ms: how long records stay; -1 keeps them for good, for read models to rebuild.
        meaning: one line for a person.
        namespace: the Avro namespace of its records, if it is not the topic's name.
    """

    name: str
    partitions: int
    meaning: str
    retention_ms: int = FOREVER
    namespace: str = ""

    @property
    def avro_namespace(self) -> str:
        return self.namespace or self.name


def dead_letter_topic(topic: str, group: str | None = None) -> str:
    """Name the dead-letter topic: a relay's of `topic`, or a consumer group's."""
    return f"{topic}.dlq" if group is None else f"{topic}.{group}.dlq"


def retry_topic(topic: str, group: str) -> str:
    """Name the topic by which a dead letter is handed to one consumer group again."""
    return f"{topic}.{group}.retry"
