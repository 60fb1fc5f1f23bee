from __future__ import annotations

from contextlib import suppress

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection

from apps.outbox.connector import connect_from_settings, slot_name
from apps.outbox.raw import build_raw_worker
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
        settings.OUTBOX_CONNECTOR = self.topic.replace(".", "-")
        settings.OUTBOX_TOPICS = (*settings.OUTBOX_TOPICS, Topic(self.raw_topic, 3, ""))
        self.connect = connect_from_settings()
        self.slot = slot_name(settings.OUTBOX_CONNECTOR)

    def apply(self, **options):
        call_command("apply_connector", **options)

    def worker(self):
        worker = build_raw_worker()
        worker.subscribe()
        return worker

    def close(self):
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


@pytest.fixture
def captured(settings):
    bench = RawBench(settings)
    yield bench
    bench.close()
