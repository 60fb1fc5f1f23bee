from __future__ import annotations

import io
import uuid

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from apps.outbox import dead_letters
from apps.outbox.dead_letters import Failure, Record, Stage, State
from apps.outbox.models import DeadLetter

pytestmark = pytest.mark.django_db(transaction=True)


def a_letter(bench, kind="handler"):
    rec = Record(
        topic=bench.topic, partition=0, offset=uuid.uuid4().int % 10**15, key=b"lamp-7", value=b"v"
    )
    failure = Failure(
        stage=Stage.CONSUMER,
        group=bench.group,
        kind=kind,
        message="ValueError: no",
        first_failed_at=timezone.now(),
        last_failed_at=timezone.now(),
    )
    return dead_letters.record(rec, failure)


def redrive(*arguments):
    out = io.StringIO()
    call_command("redrive_dlq", *arguments, stdout=out)
    return out.getvalue()


def state_of(letter_id):
    return DeadLetter.objects.get(pk=letter_id).state


def test_dead_letters_are_listed_in_a_table(bench):
    letter_id = a_letter(bench)

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
