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
    """

    name: str
    partitions: int
    meaning: str
    retention_ms: int = FOREVER


def dead_letter_topic(topic: str, group: str | None = None) -> str:
    """Name the dead-letter topic: a relay's of `topic`, or a consumer group's."""
    return f"{topic}.dlq" if group is None else f"{topic}.{group}.dlq"


def retry_topic(topic: str, group: str) -> str:
    """Name the topic by which a dead letter is handed to one consumer group again."""
    return f"{topic}.{group}.retry"
