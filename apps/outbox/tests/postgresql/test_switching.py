from __future__ import annotations

import threading
from itertools import count

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from apps.outbox import switching
from apps.outbox.models import OperatorAction, OutboxEvent, ReplicationSlot
from apps.outbox.tests.postgresql.conftest import work_until
from apps.outbox.tests.sending import (
    first_deliveries,
    in_threads,
    publish_all,
    versions_of,
    wait_for,
)

pytestmark = pytest.mark.django_db(transaction=True)

State = OutboxEvent.State
KEYS = 3


class Writers:
    """A thread a key that writes version after version, for whichever transport is set."""

    def __init__(self, bench):
        self._bench = bench
        self._stopping = threading.Event()
        self.written = dict.fromkeys((f"gate-{n}" for n in range(KEYS)), 0)
        bodies = [lambda key=key: self._write(key) for key in self.written]
        self._thread = threading.Thread(target=in_threads, args=bodies)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._stopping.set()
        self._thread.join()

    def go_on(self, more=20):
        """Wait until each has written some more."""
        wanted = {key: version + more for key, version in self.written.items()}
        wait_for(lambda: all(self.written[key] >= wanted[key] for key in wanted), seconds=60)

    def _write(self, key):
        for version in count(1):
            if self._stopping.wait(0.01):
                return
            publish_all(self._bench.opened(key, version))
            self.written[key] = version


def arrive(bench, written):
    """Check that all of it is on the topic, no key ever going back on first delivery."""
    total = sum(written.values())
    wait_for(lambda: bench.distinct() >= total, seconds=60)
    versions = versions_of(bench.records(count=total))
    assert {key: first_deliveries(found) for key, found in versions.items()} == {
        key: list(range(1, last + 1)) for key, last in written.items()
    }


def test_writers_go_from_debezium_to_the_relay_and_back_without_losing_or_reordering(
    captured, settings
):
    captured.apply()
    with Writers(captured) as writers:
        writers.go_on()
        settings.OUTBOX_TRANSPORT = "relay"
        writers.go_on()
        call_command("switch_transport", "relay", by="anna", timeout=60)
        assert not OutboxEvent.objects.filter(state=State.CAPTURED).exists()
        relay = captured.relay()
        work_until(relay, lambda: captured.distinct() >= 40 * KEYS)
        writers.go_on()
        relay.close()

        switching.to_debezium(captured.connect, by="anna", seconds=60)
        worker = captured.worker()
        writers.go_on()
        settings.OUTBOX_TRANSPORT = "debezium"
        writers.go_on()
        writers.stop()
        total = sum(writers.written.values())
        work_until(worker, lambda: captured.distinct() >= total, seconds=120)
        worker.close()

    arrive(captured, writers.written)
    assert not OutboxEvent.objects.filter(state=State.PENDING).exists()
    assert [action.note for action in OperatorAction.objects.order_by("at")] == [
        "to relay: ",
        "to debezium: ",
    ]


def test_rows_of_writers_that_were_restarted_too_early_are_sent_as_well(captured, settings):
    settings.OUTBOX_TRANSPORT = "relay"
    captured.publish_run("north", [1, 2])
    settings.OUTBOX_TRANSPORT = "debezium"
    captured.publish_run("north", [3])

    call_command("switch_transport", "debezium", by="anna", timeout=60)
    captured.publish_run("north", [4])
    worker = captured.worker()
    work_until(worker, lambda: captured.distinct() >= 4)
    worker.close()

    arrive(captured, {"north": 4})


def test_nothing_of_debezium_is_left_behind_the_switch_to_the_relay(captured, settings):
    captured.apply()
    captured.publish_run("north", [1, 2])
    settings.OUTBOX_TRANSPORT = "relay"

    call_command("switch_transport", "relay", by="anna", timeout=60)

    assert versions_of(captured.records(count=2)) == {"north": [1, 2]}
    assert set(OutboxEvent.objects.values_list("state", flat=True)) == {State.PUBLISHED}
    assert not ReplicationSlot.objects.exists()
    assert captured.connect.running_configuration() is None
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s)"
            " + (SELECT count(*) FROM pg_publication WHERE pubname = %s)",
            [captured.slot, captured.slot],
        )
        assert cursor.fetchone() == (0,)


def test_switch_to_debezium_is_refused_while_a_relay_runs(captured, settings):
    settings.OUTBOX_TRANSPORT = "relay"
    captured.publish_run("north", [1])
    relay = captured.relay()
    work_until(relay, lambda: captured.sent() == 1)
    settings.OUTBOX_TRANSPORT = "debezium"

    with pytest.raises(CommandError, match="Stop relay_outbox"):
        call_command("switch_transport", "debezium", by="anna")


def test_switch_is_refused_where_the_other_transport_is_set(captured):
    with pytest.raises(CommandError, match="set it to relay"):
        call_command("switch_transport", "relay", by="anna")
