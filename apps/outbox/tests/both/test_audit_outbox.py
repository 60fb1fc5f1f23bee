from __future__ import annotations

import io
import json
import uuid
from contextlib import suppress
from datetime import timedelta

import pytest
from confluent_kafka import Producer
from django.core.management import CommandError, call_command
from django.utils import timezone

from apps.outbox import dead_letters, kafka, trail
from apps.outbox.actions import GIVEN_UP
from apps.outbox.audit import Kind
from apps.outbox.dead_letters import Stage
from apps.outbox.models import DeadLetter, OutboxEvent
from apps.outbox.pruning import EVENTS, PRUNED
from apps.outbox.tests.operating import a_letter, a_row, run, uuid7_of
from apps.outbox.tests.sending import drain
from apps.outbox.topics import dead_letter_topic

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = 3600.0


@pytest.fixture
def topic(sending):
    return sending.topic


def put(topic, key, version, event_id, times=1):
    """Put a record on the topic, as the relay does."""
    producer = Producer(kafka.client_settings())
    headers = {"ce_id": str(event_id), "ce_sequence": str(version)}
    for _ in range(times):
        producer.produce(topic, key=key.encode(), value=b"v", headers=headers)
    assert producer.flush(30) == 0


def published(topic, key, version=1, *, times=1, age=HOUR):
    """Leave a row that was sent, with its record."""
    row = a_row(key, version, topic=topic, state="published", age=age)
    put(topic, key, version, row.pk, times)
    return row


def audit(*arguments):
    out = io.StringIO()
    with suppress(CommandError):
        call_command("audit_outbox", "--json", *arguments, stdout=out)
    return json.loads(out.getvalue())


def faults(*arguments):
    return [(each["kind"], each["subject"]) for each in audit(*arguments)["violations"]]


def test_every_event_of_a_relay_is_accounted_for(sending):
    sending.register()
    sending.publish_run("gate-1", [1, 2, 3])
    sending.publish_run("gate-2", [1])
    drain(sending.relay())
    sending.publish_run("gate-2", [2])

    said = run("audit_outbox")

    assert "Every event is accounted for." in said
    balance = audit()
    assert [balance[name] for name in ("committed", "published", "pending", "on_topics")] == [
        *(5, 4, 1, 4)
    ]


def test_a_row_that_says_published_and_has_no_record_is_lost(topic):
    published(topic, "gate-1")
    lost = a_row("gate-2", topic=topic, state="published", age=HOUR)

    assert faults() == [(Kind.LOST, str(lost.pk))]
    with pytest.raises(CommandError, match="1 violation"):
        run("audit_outbox")


def test_a_record_that_nobody_committed_is_invented(topic):
    published(topic, "gate-1")
    event_id = uuid7_of(timezone.now().replace(year=2026, month=1, day=1))
    put(topic, "gate-1", 2, event_id)
    put(topic, "gate-1", 3, "no id at all")

    assert faults() == [
        (Kind.INVENTED, f"{topic}: no id at all"),
        (Kind.INVENTED, str(event_id)),
    ]


def test_a_record_that_came_after_the_look_at_the_rows_is_none_of_its_business(topic):
    published(topic, "gate-1")
    put(topic, "gate-1", 2, uuid7_of(timezone.now()))

    balance = audit()

    assert (balance["newer"], balance["violations"]) == (1, [])


def test_records_whose_rows_were_pruned_are_not_called_invented(topic):
    old, young = published(topic, "gate-1", 1, age=100 * HOUR), published(topic, "gate-1", 2)
    run("prune_outbox", "--older-than", "50h")

    balance = audit()

    assert not OutboxEvent.objects.filter(pk=old.pk).exists()
    assert OutboxEvent.objects.filter(pk=young.pk).exists()
    assert (balance["pruned"], balance["violations"]) == (1, [])


def test_a_repeated_record_is_counted_and_forgiven(topic):
    published(topic, "gate-1", 1, times=3)
    published(topic, "gate-1", 2)

    balance = audit()

    assert (balance["repeated"], balance["violations"]) == (2, [])


def test_versions_that_go_back_or_are_passed_over_are_found(topic):
    published(topic, "gate-1", 2)
    first = published(topic, "gate-1", 1)
    published(topic, "gate-2", 1)
    published(topic, "gate-2", 3)

    assert faults() == [
        (Kind.WENT_BACK, f"{topic} gate-1 v1 {first.pk}, behind v2"),
        (Kind.GAP, f"{topic} gate-2 v2"),
    ]


def test_a_dead_event_with_its_letter_is_accounted_for_and_explains_its_gap(sending, topic):
    published(topic, "gate-1", 1)
    dead = a_row("gate-1", 2, topic=topic, state="dead", age=HOUR)
    published(topic, "gate-1", 3)
    a_letter(topic, b"gate-1", str(dead.pk), stage=Stage.RELAY)

    balance = audit()

    assert (balance["dead"], balance["violations"]) == (1, [])


def test_a_discarded_event_that_was_sent_all_the_same_is_found(topic):
    dead = a_row("gate-1", topic=topic, state="dead", age=HOUR)
    letter = a_letter(topic, b"gate-1", str(dead.pk), stage=Stage.RELAY, kind=GIVEN_UP)
    dead_letters.discard(letter.pk, by="anna", reason="x")
    put(topic, "gate-1", 1, dead.pk)

    assert faults() == [(Kind.SENT_ALL_THE_SAME, str(dead.pk))]


def test_a_dead_event_without_a_letter_is_found(topic):
    published(topic, "gate-1")
    dead = a_row("gate-2", topic=topic, state="dead", age=HOUR)

    assert faults() == [(Kind.NO_LETTER, str(dead.pk))]


def test_a_letter_must_be_on_the_dead_letter_topic(sending, topic):
    buried, missing = (
        a_row(key, topic=topic, state="dead", age=2 * HOUR) for key in ("gate-1", "gate-2")
    )
    hour_ago = timezone.now().replace(year=2026, month=1, day=1)
    for row in (buried, missing):
        letter = a_letter(topic, row.key.encode(), str(row.pk), stage=Stage.RELAY)
        DeadLetter.objects.filter(pk=letter.pk).update(last_failed_at=hour_ago)
    put(dead_letter_topic(topic), "gate-1", 1, buried.pk)

    assert faults() == [(Kind.LETTER_NOT_ON_TOPIC, str(missing.pk))]


def test_captured_events_are_on_the_way_until_nothing_is(topic):
    arrived = a_row("gate-1", 1, topic=topic, state="captured", age=HOUR)
    put(topic, "gate-1", 1, arrived.pk)
    absent = a_row("gate-1", 2, topic=topic, state="captured", age=HOUR)

    balance = audit()

    assert (balance["published"], balance["on_the_way"], balance["violations"]) == (1, 1, [])
    assert faults("--at-rest") == [(Kind.LOST_BEHIND_CAPTURE, str(absent.pk))]


def test_a_topic_that_does_not_exist_is_found():
    row = a_row(topic=f"test.none-{uuid.uuid4().hex}", state="published", age=HOUR)

    assert set(faults()) == {(Kind.LOST, str(row.pk)), (Kind.NO_TOPIC, row.topic)}


def test_only_what_is_younger_than_since_is_looked_at(topic):
    a_row("gate-0", topic=topic, state="published", age=9000 * HOUR)
    published(topic, "gate-1")
    since = (timezone.now() - timedelta(days=1)).isoformat()

    balance = audit("--since", since)

    assert (balance["committed"], balance["violations"]) == (1, [])


def test_the_trail_of_pruning_is_what_excuses_a_missing_row(topic):
    published(topic, "gate-1")
    put(topic, "gate-9", 1, uuid7_of(timezone.now().replace(year=2026, month=1, day=1)))

    assert [kind for kind, _ in faults()] == [Kind.INVENTED]
    trail.note("anna", PRUNED, EVENTS, timezone.now().replace(month=2, day=1).isoformat())
    assert faults() == []
