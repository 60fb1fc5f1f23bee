"""Every topic that must exist, and making those that do not."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
)
from confluent_kafka.cimpl import NewPartitions, NewTopic

from .conf import settings
from .topics import FOREVER, Topic, dead_letter_topic, retry_topic, tier_name, tier_topic

TIMEOUT_SECONDS = 30
PAUSE_SECONDS = 0.1
BROKERS_DEFAULT = -1
RAW = ".raw"


class Change(StrEnum):
    NONE = "exists"
    CREATED = "created"
    GREW = "got more partitions"
    HAS_MORE = "has more partitions than asked for, which stay"
    KEPT_OTHERWISE = "keeps its records as long as it should again"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    topic: Topic
    change: Change


def wanted_topics() -> list[Topic]:
    """Return the topics of the settings, with those for dead letters and retries."""
    named = {topic.name: topic for topic in settings.OUTBOX_TOPICS}
    wanted = dict(named)
    for topic in named.values():
        # The dead letters of a raw topic go to that of the topic which it feeds.
        name = dead_letter_topic(topic.name.removesuffix(RAW))
        wanted.setdefault(name, Topic(name, 1, f"Events that never got to {topic.name}."))
    has_tiers = settings.CONSUMER_ORDERING == "none"
    for group, sources in settings.OUTBOX_CONSUMERS.items():
        for source in sources:
            retry = retry_topic(source, group)
            wanted[retry] = Topic(
                retry, named[source].partitions, f"Dead letters of {group}, sent to it again."
            )
            for delay in settings.OUTBOX_RETRY_DELAYS_SECONDS if has_tiers else ():
                tier = tier_topic(source, group, delay)
                wanted[tier] = Topic(
                    tier,
                    named[source].partitions,
                    f"Records that {group} tries again after {tier_name(delay)}.",
                )
            dead = dead_letter_topic(source, group)
            wanted[dead] = Topic(dead, 1, f"Records of {source} that {group} could not handle.")
    return list(wanted.values())


def create_topics(
    admin: AdminClient, topics: list[Topic], *, is_check: bool = False
) -> list[Outcome]:
    """Create what is missing, add partitions where there are too few, and correct the retention.

    Nothing is removed; a retention that is corrected to a shorter one lets Kafka remove records.

    Args:
        admin: Kafka's administration.
        topics: what must exist.
        is_check: only say what would be done.

    Raises:
        KafkaException: Kafka is away or refuses.
    """
    existing = _partitions(admin)
    retentions = _retentions(admin, [each.name for each in topics if each.name in existing])
    return [
        Outcome(topic=topic, change=change)
        for topic in topics
        for change in _changes(
            admin, topic, existing.get(topic.name, 0), retentions.get(topic.name), is_check=is_check
        )
    ]


def _changes(
    admin: AdminClient,
    topic: Topic,
    have: int,
    retention: dict[str, str] | None,
    *,
    is_check: bool,
) -> list[Change]:
    """Do what is to be done for one topic: the partitions, and the retention if it is another."""
    if is_check:
        change = Change.GREW if have < topic.partitions else Change.NONE
        changes: list[Change] = [change if have else Change.CREATED]
    else:
        changes = [_ensure(admin, topic, have)]
    if retention is not None and retention != _retention(topic):
        if not is_check:
            _keep(admin, topic)
        changes = [*(each for each in changes if each != Change.NONE), Change.KEPT_OTHERWISE]
    return changes


def _retention(topic: Topic) -> dict[str, str]:
    """Return the settings by which a topic keeps its records, which the brokers may default."""
    kept = {"retention.ms": str(topic.retention_ms)}
    return kept | ({"retention.bytes": str(FOREVER)} if topic.retention_ms == FOREVER else {})


def _retentions(admin: AdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    """Return what the topics have of the settings that we set."""
    if not names:
        return {}
    asked = admin.describe_configs(
        [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
    )
    found = {resource.name: config.result(TIMEOUT_SECONDS) for resource, config in asked.items()}
    forever = {name: config["retention.ms"].value == str(FOREVER) for name, config in found.items()}
    return {
        name: {
            key: config[key].value
            for key in ("retention.ms", *(("retention.bytes",) if forever[name] else ()))
        }
        for name, config in found.items()
    }


def _keep(admin: AdminClient, topic: Topic) -> None:
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in _retention(topic).items()
    ]
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic.name, incremental_configs=entries)
    for done in admin.incremental_alter_configs([resource]).values():
        done.result(TIMEOUT_SECONDS)


def _partitions(admin: AdminClient) -> dict[str, int]:
    topics = admin.list_topics(timeout=TIMEOUT_SECONDS).topics
    return {name: len(topic.partitions) for name, topic in topics.items()}


def _ensure(admin: AdminClient, topic: Topic, have: int) -> Change:
    if not have and _create(admin, topic):
        return Change.CREATED
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not have and time.monotonic() < deadline:
        # Somebody has just created it, and not every broker knows it yet.
        time.sleep(PAUSE_SECONDS)
        have = _partitions(admin).get(topic.name, 0)
    if have < topic.partitions:
        grown = admin.create_partitions([NewPartitions(topic.name, topic.partitions)])
        grown[topic.name].result(TIMEOUT_SECONDS)
        return Change.GREW
    return Change.HAS_MORE if have > topic.partitions else Change.NONE


def _create(admin: AdminClient, topic: Topic) -> bool:
    """Create the topic; False if somebody else just has."""
    new = NewTopic(
        topic.name,
        num_partitions=topic.partitions,
        replication_factor=BROKERS_DEFAULT,
        config=_retention(topic),
    )
    try:
        admin.create_topics([new])[topic.name].result(TIMEOUT_SECONDS)
    except KafkaException as exc:
        if exc.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        raise
    return True
