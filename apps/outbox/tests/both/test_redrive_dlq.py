from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.core.management import CommandError
from django.utils import timezone

from apps.outbox import dead_letters
from apps.outbox.dead_letters import Failure, Record, Stage, State
from apps.outbox.models import DeadLetter, OperatorAction
from apps.outbox.tests.operating import run

pytestmark = pytest.mark.django_db(transaction=True)


def a_letter(bench, kind="handler", offset=None, key=None, failed_at=None):
    place = uuid.uuid4().int % 10**15 if offset is None else offset
    rec = Record(
        topic=bench.topic, partition=0, offset=place, key=key or uuid.uuid4().bytes, value=b"v"
    )
    failed_at = failed_at or timezone.now()
    failure = Failure(
        stage=Stage.CONSUMER,
        group=bench.group,
        kind=kind,
        message="ValueError: no",
        first_failed_at=failed_at,
        last_failed_at=failed_at,
    )
    return dead_letters.record(rec, failure)


def redrive(*arguments):
    return run("redrive_dlq", *arguments)


def state_of(letter_id):
    return DeadLetter.objects.get(pk=letter_id).state


def test_dead_letters_are_listed_in_a_table(bench):
    letter_id = a_letter(bench, key=b"lamp-7")

    table = redrive("--list", "--group", bench.group)

    assert table.splitlines()[0].split()[:3] == ["id", "stage", "topic"]
    assert str(letter_id) in table
    assert "lamp-7" in table
    assert state_of(letter_id) == State.OPEN


def test_nothing_is_replayed_unless_it_is_said_what(bench):
    letter_id = a_letter(bench)

    with pytest.raises(CommandError, match="Say which"):
        redrive()

    assert state_of(letter_id) == State.OPEN


def test_letters_are_replayed_by_filters(bench):
    letter_id, other_id = a_letter(bench), a_letter(bench, kind="not_avro")

    said = redrive("--topic", bench.topic, "--kind", "handler", "--by", "anna")

    letter = DeadLetter.objects.get(pk=letter_id)
    assert "1 of 1: replay done." in said
    assert (letter.state, letter.resolved_by) == (State.REPLAYED, "anna")
    assert state_of(other_id) == State.OPEN
    assert bench.records(bench.retry)[0].value() == b"v"


def test_a_dry_run_changes_nothing(bench):
    letter_id = a_letter(bench)

    said = redrive("--id", str(letter_id), "--dry-run")

    assert "would replay 1 dead letter" in said
    assert state_of(letter_id) == State.OPEN


def test_letters_are_discarded_with_a_reason(bench):
    letter_id = a_letter(bench)

    with pytest.raises(CommandError, match="Say why"):
        redrive("--id", str(letter_id), "--discard")
    redrive("--id", str(letter_id), "--discard", "--reason", "Sent by hand")

    letter = DeadLetter.objects.get(pk=letter_id)
    assert (letter.state, letter.resolution) == (State.DISCARDED, "Sent by hand")


def test_a_letter_that_was_decided_upon_is_no_longer_offered(bench):
    letter_id = a_letter(bench)
    redrive("--id", str(letter_id))

    assert redrive("--id", str(letter_id)).strip() == "No dead letters."


def replayed(bench, count):
    """Return the ids of the letters whose copies are on the retry topic, in its order."""
    records = bench.records(bench.retry, count)
    return [uuid.UUID(dict(each.headers())["outbox-replayed-from"].decode()) for each in records]


def test_letters_of_a_key_are_replayed_in_the_order_in_which_they_were_sent(bench):
    now = timezone.now()
    third = a_letter(bench, offset=3, key=b"k", failed_at=now - timedelta(seconds=30))
    first = a_letter(bench, offset=1, key=b"k", failed_at=now)
    second = a_letter(bench, offset=2, key=b"k", failed_at=now - timedelta(seconds=10))

    redrive("--group", bench.group)

    assert replayed(bench, 3) == [first, second, third]


def test_no_letter_overtakes_an_older_one_of_its_key_unless_it_is_forced(bench):
    first = a_letter(bench, offset=1, key=b"k", kind="wrong_schema")
    second = a_letter(bench, offset=2, key=b"k")
    other = a_letter(bench, offset=3, key=b"another")

    with pytest.raises(CommandError, match="would overtake 1 older"):
        redrive("--group", bench.group, "--kind", "handler")

    assert [state_of(each) for each in (first, second)] == [State.OPEN, State.OPEN]
    assert state_of(other) == State.REPLAYED
    redrive("--id", str(second), "--force")
    assert state_of(second) == State.REPLAYED


def test_a_discarded_letter_holds_nobody_up(bench):
    first = a_letter(bench, offset=1, key=b"k")
    second = a_letter(bench, offset=2, key=b"k")

    redrive("--id", str(second), "--discard", "--reason", "Sent by hand")
    third = a_letter(bench, offset=3, key=b"k")
    redrive("--id", str(first), "--discard", "--reason", "Sent by hand")
    redrive("--id", str(third))

    assert replayed(bench, 1) == [third]


def test_letters_are_chosen_by_key_and_time(bench):
    now = timezone.now()
    old = a_letter(bench, key=b"a", failed_at=now - timedelta(days=3))
    young = a_letter(bench, key=b"a", failed_at=now)
    other = a_letter(bench, key=b"b", failed_at=now)
    yesterday = f"{now - timedelta(days=1):%Y-%m-%d}"

    assert str(old) in redrive("--list", "--until", yesterday)
    assert str(young) not in redrive("--list", "--until", yesterday)
    found = redrive("--list", "--since", yesterday, "--key", "a")
    assert str(young) in found
    assert str(other) not in found
    with pytest.raises(CommandError, match="is no time"):
        redrive("--since", "yesterday")


def test_each_decision_is_written_down_with_who_took_it_and_why(bench):
    replayed_id, discarded_id = a_letter(bench), a_letter(bench)

    redrive("--id", str(replayed_id), "--by", "anna", "--reason", "The socket is mended")
    redrive("--id", str(discarded_id), "--by", "ben", "--discard", "--reason", "A test")

    assert list(
        OperatorAction.objects.order_by("id").values_list("action", "by", "target", "note")
    ) == [
        ("replay", "anna", f"dead_letter/{replayed_id}", "The socket is mended"),
        ("discard", "ben", f"dead_letter/{discarded_id}", "A test"),
    ]


def test_a_second_replay_of_the_same_letter_sends_nothing(bench):
    letter_id = a_letter(bench)

    redrive("--id", str(letter_id))
    again = redrive("--id", str(letter_id))

    assert again.strip() == "No dead letters."
    assert replayed(bench, 1) == [letter_id]
    assert OperatorAction.objects.count() == 1


def test_kafka_that_is_away_is_said_and_every_letter_stays_open(bench, settings, monkeypatch):
    letter_ids = [a_letter(bench) for _ in range(2)]
    settings.KAFKA_BOOTSTRAP_SERVERS = "127.0.0.1:1"
    monkeypatch.setattr("apps.outbox.management.commands.redrive_dlq.SEND_SECONDS", 1.0)

    with pytest.raises(CommandError, match="Kafka does not answer"):
        redrive("--group", bench.group)

    assert {state_of(each) for each in letter_ids} == {State.OPEN}
    assert not OperatorAction.objects.exists()


def test_letters_are_replayed_no_faster_than_asked_for(bench, monkeypatch):
    pauses = []
    monkeypatch.setattr("time.sleep", pauses.append)
    for _ in range(3):
        a_letter(bench)

    redrive("--group", bench.group, "--rate", "50")

    assert pauses.count(1 / 50) == 3
