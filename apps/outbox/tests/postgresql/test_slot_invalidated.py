"""PostgreSQL drops the log that a slot still needs, since the disk is worth more to it."""

from __future__ import annotations

import pytest
from django.core.management import CommandError

from apps.outbox import slot_guard
from apps.outbox.tests.postgresql.conftest import RawBench, raw_count
from apps.outbox.tests.postgresql.own_postgres import own_postgres
from apps.outbox.tests.postgresql.test_slot_guard import delivered, recover, sql
from apps.outbox.tests.sending import first_deliveries, wait_for

pytestmark = pytest.mark.django_db(transaction=True)

MEGABYTES = 64


@pytest.fixture
def captured_with_little_log(settings):
    with own_postgres(POSTGRES_MAX_SLOT_WAL_KEEP_SIZE="1MB"):
        bench = RawBench(settings)
        yield bench
        bench.close()


def write_log():
    """Write more of the log than the server keeps for a slot."""
    for _ in range(MEGABYTES):
        sql("SELECT pg_logical_emit_message(false, 'filler', repeat('x', 1048576))")
    sql("SELECT pg_switch_wal()")
    sql("CHECKPOINT")


def test_slot_that_lost_its_log_is_a_fault_and_is_recovered_without_losing_a_row(
    captured_with_little_log,
):
    bench = captured_with_little_log
    bench.apply()
    bench.publish_run("north", [1, 2])
    wait_for(lambda: raw_count(bench) == 2)
    assert slot_guard.observe().fault == ""
    bench.connect.stop()
    bench.publish_run("north", [3])
    write_log()
    bench.publish_run("north", [4])

    report = slot_guard.observe()

    assert report.wal_status == "lost"
    assert "max_slot_wal_keep_size" in report.fault
    with pytest.raises(CommandError, match="guard_slot --recover"):
        bench.apply()
    recover()
    bench.publish_run("north", [5])
    worker = bench.worker()
    versions = delivered(bench, worker, 5)
    worker.close()
    assert first_deliveries(versions["north"]) == [1, 2, 3, 4, 5]
    assert slot_guard.observe().fault == ""
