from __future__ import annotations

import re
import uuid

import pytest
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.test import override_settings
from django.utils import timezone

from apps.core.identity import COOKIE, issue_token
from apps.outbox import dead_letters
from apps.outbox.dead_letters import Failure, Record, Stage, State
from apps.outbox.models import DeadLetter, OutboxEvent, ReceivedEvent, RelayMember

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("plain_static")]

ADMIN = f"/{settings.SERVICE_NAME}/admin/outbox/"
LETTERS = f"{ADMIN}deadletter/"


@pytest.fixture
def plain_static():
    backend = "django.contrib.staticfiles.storage.StaticFilesStorage"
    with override_settings(STORAGES=settings.STORAGES | {"staticfiles": {"BACKEND": backend}}):
        yield


@pytest.fixture
def staff(client):
    client.cookies[COOKIE] = issue_token(
        "s-1", "anna@example.com", is_staff=True, now=timezone.now()
    )
    return client


def a_letter(value=b"junk", headers=(("ce_type", b"test.lit.v1"),), **fields):
    failed_at = timezone.now()
    rec = Record(
        topic="test.lamps",
        partition=0,
        offset=uuid.uuid4().int % 10**15,
        key=b"lamp-7",
        value=value,
        headers=headers,
    )
    failure = Failure(
        stage=Stage.CONSUMER,
        group="readers",
        kind="handler",
        message="ValueError: <b>no</b> such socket",
        first_failed_at=failed_at,
        last_failed_at=failed_at,
    )
    pk = dead_letters.record(rec, failure, event_id=fields.get("event_id", "e-1"))
    return DeadLetter.objects.get(pk=pk)


def act(staff, letter, action, **data):
    fields = {"action": action, "_selected_action": str(letter.pk), "index": "0"} | data
    return staff.post(LETTERS, fields, follow="reason" in data or action == "replay_selected")


def test_the_admin_is_for_staff_alone(client):
    assert client.get(LETTERS).status_code == 302


def test_a_dead_letter_is_shown_with_its_reason_headers_and_bytes(staff):
    letter = a_letter()

    page = staff.get(f"{LETTERS}{letter.pk}/change/").content.decode()

    assert "ValueError: &lt;b&gt;no&lt;/b&gt; such socket" in page
    assert "lamp-7" in page
    assert "test.lit.v1" in page
    assert "6a 75 6e 6b" in page
    assert 'name="action" value="replay_selected"' in page


def test_a_dead_letters_event_is_decoded(staff, bench):
    letter = a_letter(bench.value("lamp-in-avro", version=3))

    page = staff.get(f"{LETTERS}{letter.pk}/change/").content.decode()

    assert "test.lamps.LampLit" in page
    assert re.search(r"lamp_id&quot;: &quot;lamp-in-avro", page)


def test_dead_letters_are_listed_filtered_and_found(staff):
    event_id = str(uuid.uuid4())
    letter = a_letter(event_id=event_id)
    found = [
        staff.get(LETTERS, query).content.decode()
        for query in (
            {},
            {"q": event_id},
            {"q": str(letter.pk)},
            {"q": "lamp-7"},
            {"q": "handler"},
            {"state__exact": "open", "stage__exact": "consumer"},
        )
    ]
    missed = [
        staff.get(LETTERS, query).content.decode()
        for query in ({"q": "nothing"}, {"state__exact": "discarded"}, {"topic": "ticketing.users"})
    ]

    assert all(str(letter.pk) in page for page in found)
    assert not any(str(letter.pk) in page for page in missed)


def test_a_replay_is_requested_and_says_by_whom(staff):
    letter = a_letter()

    page = act(staff, letter, "replay_selected").content.decode()

    letter.refresh_from_db()
    assert "Replay requested: 1 dead letter" in page
    assert letter.state == State.REQUESTED
    assert letter.resolved_by == "anna@example.com"
    assert LogEntry.objects.filter(object_id=str(letter.pk)).count() == 1


def test_a_letter_that_was_decided_upon_is_not_replayed(staff):
    letter = a_letter()
    dead_letters.discard(letter.pk, by="ben", reason="a test")

    page = act(staff, letter, "replay_selected").content.decode()

    letter.refresh_from_db()
    assert "is discarded, by ben" in page
    assert letter.state == State.DISCARDED


def test_a_letter_is_discarded_with_a_reason(staff):
    letter = a_letter()

    asked = act(staff, letter, "discard_selected").content.decode()
    without = act(staff, letter, "discard_selected", reason=" ").content.decode()
    still = DeadLetter.objects.get(pk=letter.pk).state
    page = act(staff, letter, "discard_selected", reason="Sent by hand").content.decode()

    letter.refresh_from_db()
    assert 'name="reason"' in asked
    assert "Say why they may be discarded." in without
    assert still == State.OPEN
    assert "Discarded: 1 dead letter" in page
    assert (letter.state, letter.resolution) == (State.DISCARDED, "Sent by hand")


def test_an_event_of_the_outbox_is_shown_decoded_and_cannot_be_changed(staff):
    event = OutboxEvent.objects.create(
        topic="ticketing.users",
        key="u-1",
        aggregate_type="user",
        aggregate_id=uuid.uuid4().hex,
        version=1,
        type="test.user.v1",
        record="test.User",
        payload=b'{"email":"ann@example.com"}',
        headers='{"traceparent":"00-1-2-01"}',
        occurred_at=timezone.now(),
        due_at=timezone.now(),
    )
    address = f"{ADMIN}outboxevent/{event.pk}/change/"

    page = staff.get(address).content.decode()
    listed = staff.get(f"{ADMIN}outboxevent/", {"q": event.aggregate_id}).content.decode()
    by_id = staff.get(f"{ADMIN}outboxevent/", {"q": str(event.pk)}).content.decode()
    changed = staff.post(address, {"topic": "elsewhere"})

    assert "&quot;email&quot;: &quot;ann@example.com&quot;" in page
    assert "00-1-2-01" in page
    assert event.aggregate_id in listed
    assert event.aggregate_id in by_id
    assert changed.status_code == 403


def test_received_events_and_relays_are_listed(staff):
    event_id = str(uuid.uuid4())
    fields = {"type": "t", "topic": "x", "partition": 0, "offset": 1, "key": "k", "version": 1}
    group = settings.CONSUMER_GROUP
    ReceivedEvent.objects.create(id=f"{group}/{event_id}", received_at=timezone.now(), **fields)
    now = timezone.now()
    RelayMember.objects.create(owner="relay-1", started_at=now, expires_at=now)

    assert event_id in staff.get(f"{ADMIN}receivedevent/", {"q": event_id}).content.decode()
    assert "relay-1" in staff.get(f"{ADMIN}relaymember/").content.decode()
