"""A row by one statement: the same row as Django's own, and who has it already."""

from __future__ import annotations

import uuid

import pytest
from django.db import IntegrityError
from django.db.models import Model
from django.forms.models import model_to_dict
from django.utils import timezone

from apps.outbox.inserting import insert
from apps.outbox.models import OutboxEvent

pytestmark = pytest.mark.django_db(transaction=True)


def event(**given) -> OutboxEvent:
    now = timezone.now()
    facts = {
        "id": uuid.uuid4(),
        "topic": "t",
        "key": "k",
        "slot": 7,
        "aggregate_type": "a",
        "aggregate_id": "k",
        "version": 1,
        "type": "t.v1",
        "record": "R",
        "payload": b'{"quote": "it\'s 100 % ours"}',
        "headers": '{"a": "b"}',
        "occurred_at": now,
        "due_at": now,
    }
    return OutboxEvent(**facts | given)


def kept(row: Model) -> dict[str, object]:
    found = type(row).objects.get(pk=row.pk)
    return model_to_dict(found) | {"payload": bytes(getattr(found, "payload", b""))}


def test_row_is_the_one_that_django_would_have_saved():
    mine, djangos = event(), event(id=uuid.uuid4(), aggregate_id="other")

    assert insert(mine)
    djangos.save(force_insert=True)

    different = {"id", "aggregate_id", "occurred_at", "due_at"}
    assert {name: value for name, value in kept(mine).items() if name not in different} == {
        name: value for name, value in kept(djangos).items() if name not in different
    }


def test_row_can_be_changed_afterwards():
    row = event()
    insert(row)

    row.state = OutboxEvent.State.PUBLISHED
    row.save()

    assert kept(row)["state"] == "published"
    assert OutboxEvent.objects.count() == 1


def test_second_row_of_a_version_breaks_the_constraint():
    insert(event())

    with pytest.raises(IntegrityError):
        insert(event())


def test_second_row_is_left_out_where_that_is_asked_for():
    first, second = event(), event()
    insert(first)

    assert not insert(second, unless_there=True)
    assert insert(event(version=2), unless_there=True)
    assert not OutboxEvent.objects.filter(pk=second.pk).exists()
