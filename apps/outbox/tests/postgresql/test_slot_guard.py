from __future__ import annotations

import io
from contextlib import suppress
from datetime import timedelta

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.utils import timezone

from apps.outbox import slot_guard, status
from apps.outbox.models import OperatorAction, OutboxEvent, ReplicationSlot
from apps.outbox.report import status_text
from apps.outbox.tests.postgresql.conftest import raw_count, work_until
from apps.outbox.tests.sending import first_deliveries, publish_all, versions_of, wait_for

pytestmark = pytest.mark.django_db(transaction=True)

State = OutboxEvent.State


def sql(statement, *parameters):
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else None


def drop_under_the_connector(slot):
    """Drop the slot as an administrator would who wants the disk space back."""

    def drop():
        sql(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots"
            " WHERE slot_name = %s AND active",
            slot,
        )
        with suppress(DatabaseError):
            sql("SELECT pg_drop_replication_slot(%s)", slot)
            return True
        return False

    wait_for(drop)


def make_slot(slot):
    sql("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", slot)


def recover(**options):
    call_command("guard_slot", recover=True, by="anna", note="disk was full", **options)


def delivered(bench, worker, count):
    """Work until every row has reached the topic, and return the versions of each key."""
    work_until(worker, lambda: bench.distinct() >= count)
    return versions_of(bench.records(count=count))


def test_slot_that_works_has_no_fault_and_is_confirmed_up_to_now(captured):
    captured.apply()
    began = timezone.now()
    captured.publish_run("north", [1, 2, 3])
    wait_for(lambda: raw_count(captured) == 3)

    report = wait_for(
        lambda: (seen := slot_guard.observe()).confirmed_at and seen.confirmed_at >= began and seen,
        seconds=60,
    )

    assert (report.fault, report.wal_status, report.is_active) == ("", "reserved", True)
    assert report.lag_bytes >= 0
    assert slot_guard.confirmed_until() == report.confirmed_at - timedelta(hours=1)


def test_rows_that_connect_confirms_while_the_guard_looks_are_no_fault(captured):
    captured.apply()
    slot_guard.observe()

    def confirmed_meanwhile():
        captured.publish_run("north", [1])
        return slot_guard.number(slot_guard.look(captured.slot).insert_lsn)

    assert slot_guard.observe(connect_offset=confirmed_meanwhile).fault == ""


def test_server_that_was_restored_from_before_what_connect_confirmed_is_a_fault(captured):
    captured.apply()
    slot_guard.observe()
    ahead = slot_guard.number(slot_guard.look(captured.slot).insert_lsn) + 2**30

    assert "restored" in slot_guard.observe(connect_offset=lambda: ahead).fault


def test_rows_that_are_not_on_the_raw_topic_are_not_called_confirmed(captured):
    captured.apply()
    captured.connect.stop()
    began = timezone.now()
    captured.publish_run("north", [1])

    for _ in range(3):
        report = slot_guard.observe()

    assert report.confirmed_at is None or report.confirmed_at < began
    assert report.lag_bytes > 0
    assert not report.is_active


@pytest.mark.parametrize("is_made_again", [False, True])
def test_slot_dropped_under_the_connector_loses_nothing_and_keeps_the_order(
    captured, is_made_again
):
    captured.apply()
    captured.publish_run("north", [1, 2])
    wait_for(lambda: raw_count(captured) == 2)
    assert slot_guard.observe().fault == ""
    drop_under_the_connector(captured.slot)
    captured.publish_run("north", [3])
    if is_made_again:
        make_slot(captured.slot)
    captured.publish_run("north", [4])

    fault = slot_guard.observe().fault

    assert ("made again" if is_made_again else "gone") in fault
    with pytest.raises(CommandError, match="guard_slot --recover"):
        captured.apply()
    recover()
    captured.publish_run("north", [5])
    worker = captured.worker()
    versions = delivered(captured, worker, 5)
    worker.close()
    assert first_deliveries(versions["north"]) == [1, 2, 3, 4, 5]
    assert slot_guard.observe().fault == ""
    [action] = OperatorAction.objects.all()
    assert (action.action, action.by, action.target) == ("recover_slot", "anna", captured.slot)
    assert fault in action.note


@pytest.mark.parametrize("is_made_again", [False, True])
def test_connector_does_not_go_on_behind_a_slot_that_is_not_its_own(captured, is_made_again):
    captured.apply()
    captured.publish_run("north", [1])
    wait_for(lambda: raw_count(captured) == 1)
    wait_for(captured.connect.confirmed_lsn)

    drop_under_the_connector(captured.slot)
    if is_made_again:
        make_slot(captured.slot)
    captured.publish_run("north", [2])

    wait_for(lambda: "FAILED" in captured.connect.states(), seconds=60)
    assert raw_count(captured) == 1


def test_slot_that_debezium_made_anew_by_itself_is_a_fault(captured):
    captured.apply()
    captured.publish_run("north", [1])
    wait_for(lambda: raw_count(captured) == 1)
    assert slot_guard.observe().fault == ""
    drop_under_the_connector(captured.slot)
    captured.publish_run("north", [2])

    # As if somebody had let Connect forget how far it was.
    captured.connect.begin_anew(captured.wanted())
    captured.connect.await_running()
    captured.publish_run("north", [3])
    wait_for(lambda: raw_count(captured) == 2)

    assert "made again" in slot_guard.observe().fault


def test_slot_that_was_moved_by_hand_is_a_fault(captured):
    captured.apply()
    captured.publish_run("north", [1])
    wait_for(lambda: raw_count(captured) == 1)
    wait_for(captured.connect.confirmed_lsn)
    assert slot_guard.observe().fault == ""
    captured.connect.stop()
    captured.publish_run("north", [2])

    sql("SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn())", captured.slot)

    assert "further than Connect has confirmed" in slot_guard.observe().fault


def test_slot_whose_statistics_a_crash_took_along_is_known_by_its_position(captured):
    captured.apply()
    captured.publish_run("north", [1])
    wait_for(captured.connect.confirmed_lsn)
    assert slot_guard.observe().fault == ""
    # A crash resets the slot's and the archiver's statistics at once.
    sql("SELECT pg_stat_reset_replication_slot(%s)", captured.slot)
    sql("SELECT pg_stat_reset_shared('archiver')")

    assert slot_guard.observe().fault == ""
    sql("SELECT pg_stat_reset_replication_slot(%s)", captured.slot)
    assert "statistics" in slot_guard.observe().fault


def test_fault_stays_until_somebody_accepts_it(captured):
    captured.apply()
    slot_guard.observe()
    ReplicationSlot.objects.update(fault="The slot is gone.")
    assert slot_guard.observe().fault == "The slot is gone."
    with pytest.raises(CommandError, match="--by"):
        call_command("guard_slot", accept_loss=True)
    with pytest.raises(SystemExit) as ended:
        call_command("guard_slot")
    assert ended.value.code == 2

    out = io.StringIO()
    call_command("guard_slot", accept_loss=True, by="anna", note="seen, nothing lost", stdout=out)

    assert "reserved" in out.getvalue()
    assert slot_guard.observe().fault == ""
    assert OperatorAction.objects.get().note == "seen, nothing lost (The slot is gone.)"


def test_raw_worker_holds_while_the_slot_has_a_fault(captured):
    captured.apply()
    slot_guard.observe()
    ReplicationSlot.objects.update(fault="The slot is gone.")
    publish_all(captured.opened("north"))
    wait_for(lambda: raw_count(captured) == 1)
    worker = captured.worker()

    work_until(worker, lambda: worker._outages >= 2)
    assert captured.sent() == 0
    ReplicationSlot.objects.update(fault="")
    worker._guarded_at = float("-inf")
    work_until(worker, lambda: captured.sent() == 1)
    worker.close()


@pytest.mark.parametrize("with_kafka", [True, False])
def test_status_tells_of_a_lost_slot_that_nobody_else_has_looked_at(captured, with_kafka):
    captured.apply()
    before = status.collect(with_kafka=with_kafka)
    drop_under_the_connector(captured.slot)

    now = status.collect(with_kafka=with_kafka)

    assert (before.slot_fault, before.slot.wal_status) == ("", "reserved")
    assert "gone" in now.slot_fault
    with pytest.raises(CommandError, match="Replication slot: The replication slot is gone"):
        call_command("outbox_status", max_dead=0, stdout=io.StringIO())


def test_slot_of_another_database_is_not_taken_for_this_ones(captured):
    elsewhere = connection.get_connection_params() | {"dbname": "postgres"}
    with psycopg.connect(
        **{name: elsewhere[name] for name in ("host", "port", "user", "password", "dbname")},
        autocommit=True,
    ) as other:
        other.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [captured.slot])
        try:
            report = slot_guard.observe()
        finally:
            other.execute("SELECT pg_drop_replication_slot(%s)", [captured.slot])

    assert (report.wal_status, report.fault) == (slot_guard.MISSING, "")
    assert not ReplicationSlot.objects.exists()
    assert "none yet" in status_text(status.collect(with_kafka=False), with_blocked=False)
