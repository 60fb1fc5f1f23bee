"""A raw worker that is told to stop, whose topic goes away, and whose registry answers 500."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid

import pytest
import structlog
from confluent_kafka import Producer, TopicPartition
from django.conf import settings
from django.db import connection

from apps.outbox import kafka, metrics
from apps.outbox.models import DeadLetter
from apps.outbox.raw import group_of
from apps.outbox.tests.failing_registry import failing_registry
from apps.outbox.tests.postgresql.conftest import work_until
from apps.outbox.tests.postgresql.test_debezium import columns
from apps.outbox.tests.sending import (
    AVRO_DIR,
    DEADLINE_SECONDS,
    first_deliveries,
    versions_of,
    wait_for,
)

pytestmark = pytest.mark.django_db(transaction=True)

KEYS = 20
VERSIONS = 100
BATCH = 20

failing = pytest.fixture(failing_registry)


def write(bench, versions, keys=KEYS):
    """Put rows on the raw topic as Debezium would, each key in order."""
    producer = Producer(kafka.client_settings())
    for version in versions:
        for number in range(keys):
            key = f"gate-{number}"
            row = columns(bench, id=str(uuid.uuid4()), version=str(version), aggregate_id=key)
            fields = {"gate_id": key, "version": version, "width_cm": 1, "opened_at": 0}
            producer.produce(
                bench.raw_topic,
                key=key,
                value=json.dumps(fields | {"keeper": None}),
                headers=list(row.items()),
            )
    assert producer.flush(DEADLINE_SECONDS) == 0


@pytest.fixture
def start(captured):
    processes = []

    def start():
        options = {
            "database": connection.settings_dict["NAME"],
            "avro_dir": str(AVRO_DIR),
            "topic": captured.topic,
            "raw_topic": captured.raw_topic,
            "connector": settings.OUTBOX_CONNECTOR,
            "batch": BATCH,
        }
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "apps.outbox.tests.postgresql.raw_process"),
                json.dumps(options),
            ],
            env=os.environ | {"LOG_LEVEL": "WARNING"},
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


def committed(bench):
    """Count the rows that the workers have behind them."""
    client = kafka.consumer(group_of(bench.raw_topic))
    try:
        places = [TopicPartition(bench.raw_topic, number) for number in range(3)]
        return sum(max(0, place.offset) for place in client.committed(places, timeout=10))
    finally:
        client.close()


def outages():
    return metrics.outages.labels("raw")._value.get()


def test_worker_told_to_stop_in_the_midst_leaves_nothing_to_repeat(captured, start):
    # Much more than the worker does while a busy machine looks at the topic and sends the signal.
    versions_written = range(1, 10 * VERSIONS + 1)
    total = KEYS * len(versions_written)
    write(captured, versions_written)

    process = start()
    wait_for(lambda: captured.sent() >= total // 200)
    process.send_signal(signal.SIGTERM)
    status = process.wait(25)
    done = captured.sent()

    assert status == 0
    assert total // 200 <= done < total
    assert committed(captured) == done
    start()
    wait_for(lambda: captured.sent() >= total, seconds=90)
    versions = versions_of(captured.records(count=total))
    assert list(versions.values()) == [list(versions_written)] * KEYS


def test_worker_killed_under_load_loses_nothing_and_keeps_the_order(captured, start):
    total = KEYS * VERSIONS
    write(captured, range(1, VERSIONS + 1))

    for part in (20, 4):
        process = start()
        wait_for(lambda part=part: captured.sent() >= total // part, seconds=90)
        process.kill()
        process.wait()
    start()

    wait_for(lambda: captured.distinct() == total, seconds=90)
    versions = versions_of(captured.records(count=total))
    assert [first_deliveries(each) for each in versions.values()] == [
        list(range(1, VERSIONS + 1))
    ] * KEYS


def test_registry_that_answers_500_makes_the_worker_wait_and_loses_nothing(
    captured, settings, failing
):
    write(captured, [1, 2], keys=1)
    before = outages()
    known = settings.SCHEMA_REGISTRY_URL
    settings.SCHEMA_REGISTRY_URL = failing
    waiting = captured.worker()

    with structlog.testing.capture_logs() as logs:
        work_until(waiting, lambda: outages() >= before + 2)
    waiting.close()
    nothing = captured.sent()
    settings.SCHEMA_REGISTRY_URL = known
    worker = captured.worker()
    work_until(worker, lambda: captured.sent() == 2)
    worker.close()

    assert nothing == 0
    assert not DeadLetter.objects.exists()
    [said, *_] = [each for each in logs if each["event"] == "raw_worker_waits"]
    assert (said["log_level"], "out of order" in said["error"]) == ("warning", True)
    assert versions_of(captured.records(count=2)) == {"gate-0": [1, 2]}


def test_raw_topic_deleted_under_the_worker_stops_it_from_no_later_row(captured):
    write(captured, [1], keys=1)
    worker = captured.worker()
    work_until(worker, lambda: captured.sent() == 1)
    captured.admin.delete_topics([captured.raw_topic])[captured.raw_topic].result(DEADLINE_SECONDS)
    gone = captured.raw_topic
    wait_for(lambda: gone not in captured.admin.list_topics(timeout=10).topics)
    before = outages()

    with structlog.testing.capture_logs() as logs:
        work_until(worker, lambda: outages() > before)
    captured.create(captured.raw_topic, 3)
    write(captured, [2, 3], keys=1)
    work_until(worker, lambda: captured.sent() == 3, seconds=90)
    worker.close()

    [said, *_] = [each for each in logs if each["event"] == "raw_consumer_error"]
    assert gone in said["error"]
    assert not DeadLetter.objects.exists()
    assert versions_of(captured.records(count=3)) == {"gate-0": [1, 2, 3]}
