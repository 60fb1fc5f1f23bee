"""Relays and consumers in processes of their own, told to stop in the midst of their work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid

import pytest
from confluent_kafka import TopicPartition
from django.db import connection

from apps.outbox import kafka
from apps.outbox.models import OutboxEvent, ReceivedEvent, RelayMember, RelaySlot
from apps.outbox.tests.chaos import make_counter
from apps.outbox.tests.chaos_parts import counter_id
from apps.outbox.tests.sending import AVRO_DIR, drain, publish_all, versions_of, wait_for

pytestmark = pytest.mark.django_db(transaction=True)

KEYS = 20
VERSIONS = 50


@pytest.fixture
def launch():
    processes = []

    def launch(module, *arguments, **options):
        known = {"database": connection.settings_dict["NAME"], "avro_dir": str(AVRO_DIR)}
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", f"apps.outbox.tests.{module}", *arguments),
                json.dumps(known | options),
            ],
            env=os.environ | {"LOG_LEVEL": "WARNING"},
        )
        processes.append(process)
        return process

    yield launch
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def start(launch):
    return lambda name: launch("relay_process", owner=name, batch=10, lease_seconds=20.0)


def published():
    return OutboxEvent.objects.filter(state=OutboxEvent.State.PUBLISHED).count()


def test_relay_told_to_stop_in_the_midst_leaves_nothing_to_repeat(sending, start):
    for version in range(1, VERSIONS + 1):
        publish_all(*[sending.opened(f"gate-{n}", version) for n in range(KEYS)])
    total = KEYS * VERSIONS

    process = start("first")
    wait_for(lambda: published() >= total // 10, seconds=90)
    process.send_signal(signal.SIGTERM)
    status = process.wait(20)
    done = published()

    assert status == 0
    assert done >= total // 10
    assert sending.sent() == done
    assert not RelayMember.objects.exists()
    assert not RelaySlot.objects.exclude(owner="").exists()
    start("second")
    wait_for(lambda: published() == total, seconds=90)
    versions = versions_of(sending.records(count=total))
    assert list(versions.values()) == [list(range(1, VERSIONS + 1))] * KEYS


def test_consumer_told_to_stop_in_the_midst_has_committed_what_took_effect(sending, launch):
    group = f"readers-{uuid.uuid4().hex[:12]}"
    keys = [f"gate-{n}" for n in range(KEYS)]
    for key in keys:
        make_counter("effects", key)
    for version in range(1, VERSIONS + 1):
        publish_all(*[sending.opened(key, version) for key in keys])
    drain(sending.relay())
    total = KEYS * VERSIONS

    def received():
        return ReceivedEvent.objects.filter(pk__startswith=f"{group}/").count()

    def consume():
        return launch("chaos_process", "consumer", topic=sending.topic, group=group, batch=10)

    process = consume()
    wait_for(lambda: received() >= total // 10, seconds=90)
    process.send_signal(signal.SIGTERM)
    status = process.wait(25)
    done = received()

    assert status == 0
    assert total // 10 <= done < total
    assert committed(group, sending.topic, sending.partitions) == done
    consume()
    wait_for(lambda: received() == total, seconds=90)
    effects = OutboxEvent.objects.filter(pk__in=[counter_id("effects", key) for key in keys])
    assert set(effects.values_list("attempts", "version", "last_error")) == {
        (VERSIONS, VERSIONS, "")
    }


def committed(group, topic, partitions):
    """Count the records of the topic that the group has behind it."""
    client = kafka.consumer(group)
    try:
        places = [TopicPartition(topic, number) for number in range(partitions)]
        return sum(max(0, place.offset) for place in client.committed(places, timeout=10))
    finally:
        client.close()
