from __future__ import annotations

import pytest
from django.db import connection
from django.db.backends.signals import connection_created

from apps.outbox.models import OutboxEvent
from apps.outbox.stores.postgresql import PENDING, PUBLISHED
from apps.outbox.tests.sending import publish_all, versions_of, wait_for

pytestmark = pytest.mark.django_db(transaction=True)

State = OutboxEvent.State
ROWS = 200
# Renew and mark, read, and now and then a look at the other relays.
STATEMENTS_A_BATCH = 5
# A new version of the row and its entries in five indexes; the page images that a checkpoint causes
# are not counted.
WAL_BYTES_A_MARK = 900


def test_relay_sends_nothing_while_captured_rows_may_be_under_way(sending):
    captured, waiting = sending.publish_run("north", [1, 2])
    OutboxEvent.objects.filter(pk=captured).update(state=State.CAPTURED)
    relay = sending.relay()

    assert not relay.run_once()
    assert not relay.run_once()
    assert OutboxEvent.objects.get(pk=waiting).state == State.PENDING

    OutboxEvent.objects.filter(pk=captured).update(state=State.PUBLISHED)
    wait_for(lambda: relay.run_once() or state(waiting) == State.PUBLISHED)
    assert versions_of(sending.records()) == {"north": [2]}


def state(event_id):
    return OutboxEvent.objects.get(pk=event_id).state


def explain(sql, parameters, options="ANALYZE, WAL"):
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN ({options}, FORMAT JSON) {sql}", parameters)
        [[[plan]]] = cursor.fetchall()
    return plan["Plan"]


def nodes(plan):
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


@pytest.mark.usefixtures("gates")
def test_rows_that_wait_are_read_in_order_from_an_index_that_holds_nothing_else(sending):
    publish_all(*[sending.opened(f"gate-{n:04}") for n in range(2000)])
    OutboxEvent.objects.update(state=State.PUBLISHED)
    publish_all(*[sending.opened(f"open-{n:04}") for n in range(100)])
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE outbox_event")

    place = {"slot": 3, "aggregate_id": "open", "version": 0, "last_slot": 63, "limit": 20}
    plan = explain(PENDING, place, "ANALYZE")

    used = [(node["Node Type"], node.get("Index Name")) for node in nodes(plan)]
    assert used == [("Limit", None), ("Index Scan", "outbox_event_waiting")]
    assert all(node.get("Rows Removed by Filter", 0) == 0 for node in nodes(plan))


@pytest.mark.usefixtures("gates")
def test_mark_of_an_event_writes_no_more_than_its_budget(sending):
    ids = publish_all(*[sending.opened(f"gate-{n}") for n in range(ROWS)])

    with connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")
    explain(PUBLISHED, {"ids": ids})
    OutboxEvent.objects.update(state=State.PENDING)
    plan = explain(PUBLISHED, {"ids": ids})

    assert plan["WAL FPI"] * 8192 + WAL_BYTES_A_MARK * ROWS >= plan["WAL Bytes"]


def test_batch_takes_a_handful_of_statements_however_many_rows_it_has(sending):
    statements = []

    def count(execute, sql, parameters, many, context):
        statements.append(sql)
        return execute(sql, parameters, many, context)

    def install(connection, **_):
        connection.execute_wrappers.append(count)

    relay = sending.relay(batch=ROWS)
    relay.run_once()
    publish_all(*[sending.opened(f"gate-{n}") for n in range(2 * ROWS)])
    connection_created.connect(install)
    try:
        with connection.execute_wrapper(count):
            relay.run_once()
    finally:
        connection_created.disconnect(install)

    assert not OutboxEvent.objects.exclude(state=State.PUBLISHED).exists()
    # Three reads, since the last one finds that nothing is left.
    assert len(statements) <= 3 * STATEMENTS_A_BATCH
