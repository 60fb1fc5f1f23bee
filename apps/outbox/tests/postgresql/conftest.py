from __future__ import annotations

from contextlib import suppress

import httpx
import pytest
from confluent_kafka import TopicPartition
from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, connection

from apps.outbox import kafka
from apps.outbox.connector import configuration, connect_from_settings, slot_name
from apps.outbox.raw import build_raw_worker
from apps.outbox.recent import ids_at_the_tail
from apps.outbox.tests.sending import Bench, wait_for
from apps.outbox.topics import Topic


class RawBench(Bench):
    """A bench whose rows Debezium carries: with its own raw topic, connector and slot."""

    def __init__(self, settings):
        super().__init__(settings)
        self.raw_topic = f"{self.topic}.raw"
        self.create(self.raw_topic, 3)
        settings.OUTBOX_TRANSPORT = "debezium"
        settings.OUTBOX_RAW_TOPIC = self.raw_topic
        settings.OUTBOX_CONNECTOR_PASSWORD = ""
        settings.OUTBOX_CONNECTOR = self.topic.replace(".", "-")
        settings.OUTBOX_TOPICS = (*settings.OUTBOX_TOPICS, Topic(self.raw_topic, 3, ""))
        self.connect = connect_from_settings()
        self.slot = slot_name(settings.OUTBOX_CONNECTOR)

    def apply(self, **options):
        call_command("apply_connector", **options)

    def wanted(self):
        """Return the connector's configuration."""
        return configuration(settings.OUTBOX_CONNECTOR, self.raw_topic)

    def distinct(self):
        """Count the events on the topic, each once."""
        return len(set(ids_at_the_tail([self.topic], last=10**9)))

    def worker(self):
        worker = build_raw_worker()
        worker.subscribe()
        return worker

    def close(self):
        with suppress(httpx.TransportError):  # a Connect of the test's own is gone by now
            self.connect.delete()
        self.connect.close()
        wait_for(self._drop_slot)
        with connection.cursor() as cursor:
            cursor.execute(f'DROP PUBLICATION IF EXISTS "{self.slot}"')
        super().close()

    def _drop_slot(self):
        """Drop the slot, once the connector has let go of it."""
        with suppress(DatabaseError), connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                " WHERE slot_name = %s",
                [self.slot],
            )
            return True
        return False


def raw_count(bench):
    """Count the raw topic's records, by its offsets."""
    client = kafka.consumer("test-counter")
    try:
        return sum(
            client.get_watermark_offsets(TopicPartition(bench.raw_topic, number), timeout=10)[1]
            for number in range(3)
        )
    finally:
        client.close()


def work_until(worker, condition, seconds=60):
    def step():
        worker.run_once()
        return condition()

    return wait_for(step, seconds=seconds)


@pytest.fixture
def captured(settings):
    bench = RawBench(settings)
    yield bench
    bench.close()
