from __future__ import annotations

import bson
import pytest
from django.db import connection

from apps.outbox.models import OutboxEvent
from apps.outbox.stores import Page, open_store
from apps.outbox.tests.sending import publish_all

pytestmark = pytest.mark.django_db(transaction=True)

State = OutboxEvent.State
ROWS = 200
# Renew and mark, read, and now and then a look at the other relays.
COMMANDS_A_BATCH = 5
# A part of the batch's one entry: the document's key and what is set.
OPLOG_BYTES_A_MARK = 400


@pytest.fixture
def database():
    connection.ensure_connection()
    return connection.database


@pytest.fixture
def profiled(database):
    """Let the server note each command on the test's own database."""
    database.command("profile", 2)
    yield database["system.profile"]
    database.command("profile", 0)
    database.drop_collection("system.profile")


def last_entry(database):
    return database.client.local["oplog.rs"].find().sort("$natural", -1).limit(1).next()["ts"]


def test_rows_that_wait_are_read_in_order_from_an_index_that_holds_nothing_else(sending, profiled):
    publish_all(*[sending.opened(f"gate-{n:04}") for n in range(500)])
    OutboxEvent.objects.update(state=State.PUBLISHED)
    publish_all(*[sending.opened(f"open-{n:04}") for n in range(100)])
    rows = open_store().pending(Page(3, "open"), 63, 20)

    assert len(rows) == 20
    [read] = profiled.find({"command.find": "outbox_event", "command.hint": "outbox_event_waiting"})
    assert "IXSCAN" in read["planSummary"]
    assert (read["keysExamined"], read["docsExamined"]) == (20, 20)
    assert not read.get("hasSortStage")


def test_batch_takes_a_handful_of_commands_and_few_bytes(sending, database, profiled):
    relay = sending.relay(batch=ROWS)
    relay.run_once()
    publish_all(*[sending.opened(f"gate-{n}") for n in range(2 * ROWS)])
    since = last_entry(database)
    before = profiled.count_documents({})

    relay.run_once()

    ours = {"op": {"$in": ["query", "update", "insert", "command", "remove"]}}
    commands = list(profiled.find(ours).skip(before))
    assert not OutboxEvent.objects.exclude(state=State.PUBLISHED).exists()
    # Each marked document is noted as an update of its own; the command behind them is one.
    writes = {
        (each.get("command", {}).get("txnNumber"), str(each.get("lsid")))
        for each in commands
        if each["op"] == "update"
    }
    reads = [each for each in commands if each["op"] == "query"]
    assert len(reads) + len(writes) <= 3 * COMMANDS_A_BATCH
    marks = database.client.local["oplog.rs"].find(
        {"ts": {"$gt": since}, "o.applyOps.ns": f"{database.name}.outbox_event"}
    )
    assert sum(len(bson.encode(each)) for each in marks) <= 2 * ROWS * OPLOG_BYTES_A_MARK


def test_rows_are_in_no_index_more_than_needed_since_each_costs_every_mark(database):
    assert set(database["outbox_event"].index_information()) == {
        *("_id_", "outbox_event_version", "outbox_event_waiting", "outbox_event_failed"),
    }
