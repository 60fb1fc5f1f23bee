"""Topics as data: a project lists its own in settings.OUTBOX_TOPICS."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

FOREVER = -1
UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


@dataclass(frozen=True)
class Topic:
    """A topic to create.

    Args:
        name: Kafka's name of it.
        partitions: how many; can only grow, and growing moves keys to other partitions.
        retention_ms: how long records stay; -1 keeps them for good, for read models to rebuild.
        meaning: one line for a person.
        namespace: the Avro namespace of its records, if it is not the topic's name.
        records: the names of its records, where a namespace is shared out among several topics;
            the one without gets what the others do not name.
        on_poison: what becomes of a key whose next event can never be sent. By "dead_letter" the
            event becomes a dead letter, and the key goes on without it; by "block" the key stands
            still, with the error on its row, until an operator acts.
    """

    name: str
    partitions: int
    meaning: str
    retention_ms: int = FOREVER
    namespace: str = ""
    records: tuple[str, ...] = ()
    on_poison: Literal["dead_letter", "block"] = "dead_letter"

    @property
    def avro_namespace(self) -> str:
        return self.namespace or self.name


def dead_letter_topic(topic: str, group: str | None = None) -> str:
    """Name the dead-letter topic: a relay's of `topic`, or a consumer group's."""
    return f"{topic}.dlq" if group is None else f"{topic}.{group}.dlq"


def retry_topic(topic: str, group: str) -> str:
    """Name the topic by which a dead letter is handed to one consumer group again."""
    return f"{topic}.{group}.retry"


def home_topic(topic: str, group: str) -> str:
    """Return the topic that a record of a retry topic came from; any other is its own."""
    return topic.removesuffix(retry_topic("", group)) if group else topic


def tier_topic(topic: str, group: str, delay: int) -> str:
    """Name the topic where records of one consumer group wait for another try.

    Args:
        topic: where they come from.
        group: which consumer group.
        delay: for how many seconds.
    """
    return f"{retry_topic(topic, group)}.{tier_name(delay)}"


def tier_name(delay: int) -> str:
    """Write a delay in its largest whole unit, such as 5s, 1m, 10m."""
    unit, seconds = next(each for each in UNITS.items() if delay % each[1] == 0)
    return f"{delay // seconds}{unit}"


def tier_pattern(topic: str, group: str) -> str:
    """Return the regular expression of all tiers, also those of other delays than today's."""
    return f"^{re.escape(retry_topic(topic, group))}\\.[0-9]+[{''.join(UNITS)}]$"
