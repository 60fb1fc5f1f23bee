"""What is wrong with rows, topics or servers: each case is told apart, and loses nothing."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import timedelta

import pytest
import structlog
from confluent_kafka import KafkaError, KafkaException
from django.utils import timezone

from apps.outbox import metrics, status
from apps.outbox.failures import ErrorKind, LeaseLost, Poison, Unavailable, is_outage, kind_of
from apps.outbox.models import DeadLetter, OutboxEvent
from apps.outbox.tests.failing_registry import failing_registry
from apps.outbox.tests.sending import (
    DEADLINE_SECONDS,
    drain,
    event_class,
    in_threads,
    publish_all,
    spoil,
    versions_of,
    wait_for,
)
from apps.outbox.topics import Topic

pytestmark = pytest.mark.django_db(transaction=True)

State = OutboxEvent.State


def row(event_id):
    return OutboxEvent.objects.get(pk=event_id)


def counted(topic, outcome, kind=""):
    return metrics.published.labels(topic, outcome, kind)._value.get()


def said(logs, event):
    return [each for each in logs if each["event"] == event]


def names(line, event_id, topic, key):
    """Say whether a log line names the event so that it can be looked up."""
    return (line["event_id"], line["topic"], line["key"]) == (str(event_id), topic, key)


def test_key_whose_topic_wants_it_stands_still_at_a_poisoned_row(sending, settings):
    settings.OUTBOX_TOPICS = (
        Topic(sending.topic, 3, "", namespace="test.gates", on_poison="block"),
    )
    first, bad, third = sending.publish_run("north", [1, 2, 3])
    publish_all(sending.opened("south"))
    good = bytes(row(bad).payload)
    spoil(bad, b"?")
    relay = sending.relay()

    with structlog.testing.capture_logs() as logs:
        drain(relay)

    [line] = said(logs, "event_delayed")
    assert names(line, bad, sending.topic, "north")
    assert (line["log_level"], line["error_kind"]) == ("warning", ErrorKind.POISON)
    assert versions_of(sending.records(count=2)) == {"north": [1], "south": [1]}
    assert [row(each).state for each in (first, bad, third)] == [
        State.PUBLISHED,
        State.PENDING,
        State.PENDING,
    ]
    assert not DeadLetter.objects.exists()
    assert counted(sending.topic, "delayed", ErrorKind.POISON) == 1
    [blocked] = status.blocked_keys(10)
    assert (blocked.topic, blocked.key, blocked.version) == (sending.topic, "north", 2)
    assert (blocked.event_id, blocked.attempts) == (str(bad), 1)
    assert "JSON" in blocked.error
    assert blocked.due_at > timezone.now() + timedelta(minutes=20)

    spoil(bad, good)
    OutboxEvent.objects.filter(pk=bad).update(due_at=timezone.now())
    drain(relay)

    assert versions_of(sending.records(count=4))["north"] == [1, 2, 3]


def test_unknown_topic_is_counted_and_its_key_is_listed_as_blocked(sending):
    elsewhere = event_class(f"{sending.topic}-missing")
    sending.register(elsewhere.topic)
    [waits, behind] = publish_all(
        elsewhere(gate_id="lost", version=1), elsewhere(gate_id="lost", version=2)
    )

    with structlog.testing.capture_logs() as logs:
        drain(sending.relay())

    [line] = said(logs, "event_delayed")
    assert names(line, waits, elsewhere.topic, "lost")
    assert (line["log_level"], line["error_kind"]) == ("warning", ErrorKind.RETRIABLE)
    assert "UNKNOWN" in line["error"]
    assert line["seconds"] > 0
    assert counted(elsewhere.topic, "delayed", ErrorKind.RETRIABLE) == 1
    [blocked] = status.blocked_keys(10)
    assert (blocked.event_id, blocked.topic, blocked.attempts) == (str(waits), elsewhere.topic, 1)
    assert "UNKNOWN" in blocked.error
    assert row(behind).attempts == 0


def test_topic_deleted_under_the_relay_loses_no_later_event(sending):
    relay = sending.relay()
    publish_all(sending.opened("north", 1))
    drain(relay)
    sending.admin.delete_topics([sending.topic])[sending.topic].result(DEADLINE_SECONDS)
    wait_for(lambda: sending.topic not in sending.admin.list_topics(timeout=10).topics)
    later = sending.publish_run("north", [2, 3])

    before = outages()

    def delayed():
        return counted(sending.topic, "delayed", ErrorKind.RETRIABLE)

    with structlog.testing.capture_logs() as logs:
        in_threads(
            relay.run,
            lambda: (wait_for(lambda: delayed() or outages() > before, seconds=90), relay.stop()),
        )

    assert {row(each).state for each in later} == {State.PENDING}
    lines = said(logs, "event_delayed") + said(logs, "relay_waits_for_a_server")
    assert {line["log_level"] for line in lines} == {"warning"}
    relay = sending.relay()
    sending.create(sending.topic, 3)

    def arrived():
        OutboxEvent.objects.filter(pk__in=later).update(due_at=timezone.now())
        with suppress(KafkaException):
            relay.run_once()
        return {row(each).state for each in later} == {State.PUBLISHED}

    wait_for(arrived, seconds=90)
    assert versions_of(sending.records(count=2)) == {"north": [2, 3]}


failing = pytest.fixture(failing_registry)


def test_registry_that_answers_500_makes_all_work_wait(sending, settings, failing):
    [event_id] = publish_all(sending.opened("north"))
    known = settings.SCHEMA_REGISTRY_URL
    settings.SCHEMA_REGISTRY_URL = failing
    relay = sending.relay()
    settings.SCHEMA_REGISTRY_URL = known

    with pytest.raises(Exception, match="order") as caught:
        relay.run_once()
    relay.close()

    assert kind_of(caught.value) == ErrorKind.BACKPRESSURE
    assert (row(event_id).state, row(event_id).attempts) == (State.PENDING, 0)
    drain(sending.relay())
    assert row(event_id).state == State.PUBLISHED


def test_loop_waits_for_a_registry_that_answers_500_and_says_so(sending, settings, failing):
    publish_all(sending.opened("north"))
    known = settings.SCHEMA_REGISTRY_URL
    settings.SCHEMA_REGISTRY_URL = failing
    relay = sending.relay()
    settings.SCHEMA_REGISTRY_URL = known
    before = outages()

    with structlog.testing.capture_logs() as logs:
        in_threads(relay.run, lambda: (wait_for(lambda: outages() >= before + 2), relay.stop()))

    waits = [each for each in logs if each["event"] == "relay_waits_for_a_server"]
    assert {each["log_level"] for each in waits} == {"warning"}
    assert "out of order" in waits[0]["error"]
    assert not DeadLetter.objects.exists()


def outages():
    return metrics.outages.labels("relay")._value.get()


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
def test_jump_of_the_clock_loses_and_repeats_nothing(sending, jump):
    offset = 0.0
    relay = sending.relay(clock=lambda: time.monotonic() + offset)
    lost = metrics.lease_lost._value.get()
    publish_all(sending.opened("north", 1))
    drain(relay)

    offset = jump
    publish_all(sending.opened("north", 2))
    with structlog.testing.capture_logs() as logs:
        drain(relay)

    assert not said(logs, "relay_lease_lost")
    assert metrics.lease_lost._value.get() == lost
    assert counted(sending.topic, "published") == 2
    assert versions_of(sending.records(count=2)) == {"north": [1, 2]}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (LeaseLost("taken"), ErrorKind.FENCED),
        (Poison("not_json", "?"), ErrorKind.POISON),
        (Unavailable("registry"), ErrorKind.BACKPRESSURE),
        (KafkaException(KafkaError(KafkaError._TIMED_OUT)), ErrorKind.BACKPRESSURE),
        (ZeroDivisionError(), ErrorKind.FATAL),
    ],
)
def test_each_error_has_its_kind(error, kind):
    assert kind_of(error) == kind
    assert is_outage(error) == (kind == ErrorKind.BACKPRESSURE)
