from __future__ import annotations

import io
import uuid
from contextlib import suppress

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from django.core.management import call_command

from apps.outbox import kafka
from apps.outbox.provisioning import Change, create_topics, wanted_topics
from apps.outbox.tests.sending import wait_for
from apps.outbox.topics import Topic


@pytest.fixture
def names(settings):
    """Topics of the test's own, which one group reads."""
    name = f"test.wells-{uuid.uuid4().hex[:12]}"
    settings.OUTBOX_TOPICS = (
        Topic(name, 2, "Wells."),
        Topic(f"{name}.raw", 2, "Raw.", retention_ms=60_000),
    )
    settings.OUTBOX_CONSUMERS = {"diggers": (name,)}
    yield name
    mine = [topic.name for topic in wanted_topics()]
    admin = kafka.admin()
    for gone in admin.delete_topics(mine).values():
        with suppress(KafkaException):  # not every test makes all of them
            gone.result(30)


def partitions(*names):
    """Return how many partitions they have, as soon as the broker knows them all."""

    def known():
        topics = kafka.admin().list_topics(timeout=30).topics
        found = {name: len(topics[name].partitions) for name in names if name in topics}
        return found if len(found) == len(names) else None

    return wait_for(known)


def test_dead_letter_and_retry_topics_follow_from_who_reads_what(names):
    assert {topic.name: topic.partitions for topic in wanted_topics()} == {
        names: 2,
        f"{names}.raw": 2,
        f"{names}.dlq": 1,
        f"{names}.diggers.retry": 2,
        f"{names}.diggers.dlq": 1,
    }


def test_retry_tiers_are_for_those_who_do_not_ask_for_order(names, settings):
    settings.CONSUMER_ORDERING = "none"
    settings.OUTBOX_RETRY_DELAYS_SECONDS = (5, 600)

    tiers = {topic.name: topic.partitions for topic in wanted_topics() if "retry." in topic.name}

    assert tiers == {f"{names}.diggers.retry.5s": 2, f"{names}.diggers.retry.10m": 2}


def test_topics_are_created_once(names):
    first, second = io.StringIO(), io.StringIO()

    call_command("create_topics", stdout=first)
    call_command("create_topics", stdout=second)

    assert f"+ {names} (2): created" in first.getvalue()
    assert f"  {names} (2): exists" in second.getvalue()
    wanted = {topic.name: topic.partitions for topic in wanted_topics()}
    assert partitions(*wanted) == wanted


def test_records_are_kept_as_long_as_the_topic_says(names):
    create_topics(kafka.admin(), wanted_topics())
    partitions(names, f"{names}.raw")

    assert retention(names) == "-1"
    assert retention(f"{names}.raw") == "60000"


def retention(name):
    resource = ConfigResource(ResourceType.TOPIC, name)
    admin = kafka.admin()  # it must live until the answer is there
    [described] = admin.describe_configs([resource]).values()
    return described.result(30)["retention.ms"].value


def test_partitions_are_added_and_never_removed(names):
    admin = kafka.admin()
    create_topics(admin, [Topic(names, 1, "")])

    [grown] = create_topics(admin, [Topic(names, 3, "")])
    assert grown.change == Change.GREW
    wait_for(lambda: partitions(names) == {names: 3})

    [kept] = create_topics(admin, [Topic(names, 2, "")])
    assert kept.change == Change.HAS_MORE
    assert partitions(names) == {names: 3}


def test_retention_that_somebody_changed_is_seen_and_corrected(names):
    raw = f"{names}.raw"
    call_command("create_topics", stdout=io.StringIO())
    wanted = [topic for topic in wanted_topics() if topic.name == raw]
    partitions(raw)
    shorter = ConfigEntry("retention.ms", "1000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, raw, incremental_configs=[shorter])
    admin = kafka.admin()
    admin.incremental_alter_configs([resource])[resource].result(30)
    said = io.StringIO()

    with pytest.raises(SystemExit):
        call_command("create_topics", "--check", stdout=said)
    corrected = create_topics(kafka.admin(), wanted)

    assert f"+ {raw} (2): {Change.KEPT_OTHERWISE}" in said.getvalue()
    assert [outcome.change for outcome in corrected] == [Change.KEPT_OTHERWISE]
    again = create_topics(kafka.admin(), wanted)
    assert [outcome.change for outcome in again] == [Change.NONE]


def test_check_creates_nothing(names):
    with pytest.raises(SystemExit):
        call_command("create_topics", "--check", stdout=io.StringIO())

    assert names not in kafka.admin().list_topics(timeout=30).topics
