from __future__ import annotations

import os
import threading

import pytest
from django.core.management import call_command

from apps.outbox.connector import connect_from_settings
from apps.outbox.lint import lint
from apps.outbox.models import OutboxEvent
from apps.outbox.tests.postgresql.conftest import work_until
from apps.outbox.tests.postgresql.own_connect import PASSWORD, OwnConnect
from apps.outbox.tests.sending import (
    RECORD,
    first_deliveries,
    in_threads,
    publish_all,
    versions_of,
)

pytestmark = pytest.mark.django_db(transaction=True)

# CI has little time; `OUTBOX_KILLS=20 pytest …` takes its own.
KILLS = int(os.environ.get("OUTBOX_KILLS", "2"))
ROWS_BETWEEN_KILLS = 600
KEYS = 5
BULK = 20


@pytest.fixture
def own_connect(captured, settings, tmp_path):
    own = OwnConnect(tmp_path)
    own.start()
    own.await_answer()
    settings.CONNECT_URL = own.url
    settings.OUTBOX_CONNECTOR_PASSWORD = f"${{env:{PASSWORD}}}"
    captured.connect.close()
    captured.connect = connect_from_settings()
    captured._names += own.topics
    yield own
    captured.connect.delete()
    own.kill()


class Load:
    """Rows one by one and many in one statement, of the same keys, until it is told to stop."""

    def __init__(self, bench):
        self._bench = bench
        self._stopping = threading.Event()
        self.written = dict.fromkeys((f"gate-{n}" for n in range(KEYS)), 0)
        bodies = [lambda key=key: self._write(key) for key in self.written]
        self._thread = threading.Thread(target=in_threads, args=bodies)

    @property
    def rows(self):
        return sum(self.written.values())

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        self._thread.join()

    def _write(self, key):
        version = 1
        [first] = publish_all(self._bench.opened(key, version))
        template = OutboxEvent.objects.get(pk=first)
        while not self._stopping.is_set():
            for _ in range(3):
                version += 1
                publish_all(self._bench.opened(key, version))
            OutboxEvent.objects.bulk_create(
                [self._row(template, version + n) for n in range(1, BULK + 1)]
            )
            version += BULK
            self.written[key] = version
            self._stopping.wait(0.05)
        self.written[key] = version

    def _row(self, template, version):
        return OutboxEvent(
            topic=template.topic,
            key=template.key,
            slot=template.slot,
            aggregate_type=template.aggregate_type,
            aggregate_id=template.aggregate_id,
            version=version,
            type=template.type,
            record=RECORD,
            payload=bytes(template.payload),
            occurred_at=template.occurred_at,
            due_at=template.due_at,
            state=template.state,
        )


@pytest.mark.timeout(120 + 90 * KILLS)
def test_no_committed_row_is_lost_when_connect_is_killed_under_load(captured, own_connect):
    captured.apply()
    assert lint(captured.connect, captured.wanted()) == []
    shown = captured.connect.running_configuration()["database.password"]
    assert shown == f"${{env:{PASSWORD}}}"
    worker = captured.worker()

    with Load(captured) as load:
        for _ in range(KILLS):
            before = load.rows
            work_until(worker, lambda before=before: load.rows >= before + ROWS_BETWEEN_KILLS)
            own_connect.kill()
            own_connect.start()
            sent = captured.sent()
            work_until(worker, lambda sent=sent: captured.sent() > sent, seconds=180)
    committed = OutboxEvent.objects.count()
    assert committed == load.rows

    work_until(worker, lambda: captured.distinct() >= committed, seconds=180)
    worker.close()

    versions = versions_of(captured.records(count=committed))
    assert {key: first_deliveries(found) for key, found in versions.items()} == {
        key: list(range(1, last + 1)) for key, last in load.written.items()
    }
    call_command("guard_slot")
    print(f"{committed} rows, {KILLS} kills, {captured.sent() - committed} repeated")  # noqa: T201
