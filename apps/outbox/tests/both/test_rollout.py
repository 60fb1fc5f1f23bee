from __future__ import annotations

import io
import json
import threading
import uuid

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from apps.outbox import rollout
from apps.outbox.kafka import admin
from apps.outbox.topics import Topic

pytestmark = pytest.mark.django_db(transaction=True)


def await_rollout(**options):
    out = io.StringIO()
    call_command("await_rollout", stdout=out, **options)
    return out.getvalue()


@pytest.fixture
def events(settings, tmp_path):
    """A topic and a schema of the test's own, which nobody has rolled out yet."""
    topic = f"test.mills_{uuid.uuid4().hex[:12]}"
    settings.OUTBOX_TOPICS = (Topic(topic, 2, "Mills."),)
    settings.OUTBOX_CONSUMERS = {}
    schema = {
        "type": "record",
        "name": "MillTurned",
        "namespace": topic,
        "doc": "A mill has turned.",
        "fields": [{"name": "mill_id", "type": "string", "doc": "The mill."}],
    }
    settings.AVRO_DIR = tmp_path
    (tmp_path / "mill_turned.avsc").write_text(json.dumps(schema))
    yield topic
    client = admin()  # kept: one that is let go answers nothing more
    for gone in client.delete_topics([topic, f"{topic}.dlq"]).values():
        gone.exception(30)


def test_database_with_all_migrations_is_ready():
    assert "All is there" in await_rollout(timeout=0)


def test_migration_that_was_not_applied_is_named():
    recorder = MigrationRecorder(connection)
    [(_, newest)] = MigrationLoader(connection).graph.leaf_nodes("outbox")
    recorder.record_unapplied("outbox", newest)
    try:
        with pytest.raises(CommandError, match=rf"migration outbox\.{newest}"):
            await_rollout(timeout=0)
    finally:
        recorder.record_applied("outbox", newest)


def test_migration_of_a_newer_version_is_no_reason_to_wait():
    recorder = MigrationRecorder(connection)
    recorder.record_applied("outbox", "9999_of_the_next_version")
    try:
        assert "All is there" in await_rollout(timeout=0)
    finally:
        recorder.record_unapplied("outbox", "9999_of_the_next_version")


def test_topics_and_schemas_are_waited_for_on_request(events):
    await_rollout(timeout=0)
    with pytest.raises(CommandError, match=f"topic {events}"):
        await_rollout(events=True, timeout=0)

    call_command("create_topics", stdout=io.StringIO())
    with pytest.raises(CommandError, match=r"schema .*MillTurned"):
        await_rollout(events=True, timeout=0)

    call_command("register_schemas", stdout=io.StringIO())
    assert "All is there" in await_rollout(events=True, timeout=0)


def test_process_starts_as_soon_as_somebody_else_has_done_it(events):
    waiting = threading.Event()
    said = []

    def say(text):
        said.append(text)
        waiting.set()

    def roll_out():
        assert waiting.wait(60)
        call_command("create_topics", stdout=io.StringIO())

    other = threading.Thread(target=roll_out)
    other.start()
    rollout.await_all([rollout.missing_topics], timeout=120, say=say, pause=0.1)
    other.join()

    assert said[0].startswith(f"Waiting for: topic {events} and 1 more")


def test_server_that_is_away_is_waited_for(settings):
    settings.SCHEMA_REGISTRY_URL = "http://127.0.0.1:1"

    with pytest.raises(rollout.NotReady, match="does not answer"):
        rollout.await_all([rollout.missing_schemas], timeout=0, say=print)
