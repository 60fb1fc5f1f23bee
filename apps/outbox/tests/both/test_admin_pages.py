"""The admin's pages of what stands still, and what staff can do there."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import override_settings
from django.utils import timezone

from apps.core.identity import COOKIE, issue_token
from apps.outbox import actions, dead_letters
from apps.outbox.dead_letters import Stage
from apps.outbox.models import (
    DeadLetter,
    OperatorAction,
    OutboxEvent,
    ParkedRecord,
    RelayMember,
    RelaySlot,
    ReplicationSlot,
)
from apps.outbox.tests.operating import a_letter, a_parked_record, a_row

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("plain_static")]

ADMIN = f"/{settings.SERVICE_NAME}/admin/outbox/"
EVENTS = f"{ADMIN}outboxevent/"
PARKED = f"{ADMIN}parkedrecord/"
LETTERS = f"{ADMIN}deadletter/"
WHO = "anna@example.com"
State = OutboxEvent.State


@pytest.fixture
def plain_static():
    backend = "django.contrib.staticfiles.storage.StaticFilesStorage"
    with override_settings(STORAGES=settings.STORAGES | {"staticfiles": {"BACKEND": backend}}):
        yield


@pytest.fixture
def staff(client):
    client.cookies[COOKIE] = issue_token("s-1", WHO, is_staff=True, now=timezone.now())
    return client


def a_blocked_row(key=None, version=1, **fields):
    later = timezone.now() + timedelta(hours=1)
    known = {"attempts": 3, "due_at": later, "last_error": "UNKNOWN_TOPIC: <no> such topic"}
    return a_row(key, version, **known | fields)


def a_failed_record(**fields):
    return a_parked_record(
        **{"error_kind": "handler", "error_message": "ValueError: no", "attempts": 2} | fields
    )


def text_of(response):
    assert response.status_code == 200
    return response.content.decode()


def act(staff, address, row, action, **data):
    fields = {"action": action, "_selected_action": str(row.pk), "index": "0"} | data
    return text_of(staff.post(address, fields, follow=True))


def test_queues_show_how_everything_stands(staff):
    a_blocked_row("gate-7", 2)
    a_row("gate-7", 3)
    a_row("gate-8", state="dead", topic="test.lamps")
    a_failed_record()
    a_letter(kind="not_avro")
    now = timezone.now()
    RelayMember.objects.create(owner="a:1:x", started_at=now, expires_at=now + timedelta(hours=1))
    RelaySlot.objects.create(number=0, owner="a:1:x", epoch=1)

    page = text_of(staff.get(f"{EVENTS}queues/"))

    assert "<strong>2</strong> waiting to be sent" in page
    assert "<strong>1</strong> blocked keys" in page
    assert "<strong>1</strong> parked records" in page
    assert "<strong>1</strong> dead letters to decide upon" in page
    assert "&lt;no&gt; such topic" in page
    assert "test.lamps" in page
    assert "not_avro" in page
    assert "a:1:x" in page


def test_queues_of_an_empty_outbox_say_so(staff):
    page = text_of(staff.get(f"{EVENTS}queues/"))

    assert "Nothing waits, and nothing was given up." in page


def test_queues_are_found_from_the_index_and_from_each_list(staff):
    pages = [staff.get(ADMIN), *(staff.get(each) for each in (EVENTS, PARKED, LETTERS))]

    assert all(f'href="{EVENTS}queues/"' in text_of(page) for page in pages)


def test_queues_are_for_staff_alone(client):
    assert client.get(f"{EVENTS}queues/").status_code == 302


def test_blocked_keys_are_listed_by_their_first_events(staff):
    head = a_blocked_row("gate-7", 2)
    behind = a_row("gate-7", 3)

    blocked = text_of(staff.get(EVENTS, {"state": "blocked"}))
    page = text_of(staff.get(f"{EVENTS}{head.pk}/change/"))

    assert str(head.pk) in blocked
    assert str(behind.pk) not in blocked
    assert "&lt;no&gt; such topic" in page
    assert 'value="retry_selected">Try again now' in page
    assert 'value="discard_selected">Discard' in page


def test_an_event_that_is_not_blocked_offers_nothing(staff):
    event = a_row()

    assert "discard_selected" not in text_of(staff.get(f"{EVENTS}{event.pk}/change/"))


def test_a_blocked_event_is_tried_again_from_its_page(staff):
    event = a_blocked_row()

    page = act(staff, EVENTS, event, "retry_selected", back="1")

    event.refresh_from_db()
    assert "To be tried again: 1 outbox event." in page
    assert (event.attempts, event.last_error) == (0, "")
    # It is the event's own page again, with the trail.
    assert "retry_now" in page
    assert WHO in page


def test_a_blocked_event_is_discarded_with_a_reason(staff):
    event = a_blocked_row()

    asked = act(staff, EVENTS, event, "discard_selected", back="1")
    without = act(staff, EVENTS, event, "discard_selected", reason=" ")
    still = OutboxEvent.objects.get(pk=event.pk).state
    page = act(staff, EVENTS, event, "discard_selected", reason="Never <b>meant</b>", back="1")

    assert 'name="reason"' in asked
    assert 'name="back"' in asked
    assert "Say why they may be discarded." in without
    assert still == State.PENDING
    event.refresh_from_db()
    assert event.state == State.DEAD
    letter = DeadLetter.objects.get(pk=dead_letters.id_of_unsent(event.pk))
    assert (letter.state, letter.resolved_by) == (DeadLetter.State.DISCARDED, WHO)
    [action] = OperatorAction.objects.filter(target=f"event/{event.pk}")
    assert (action.by, action.action, action.note) == (WHO, "discard_event", "Never <b>meant</b>")
    assert "Never &lt;b&gt;meant&lt;/b&gt;" in page


def test_who_comes_too_late_is_told(staff):
    event = a_blocked_row()
    actions.discard_event(event.pk, by="ben", reason="first")

    page = act(staff, f"{EVENTS}?state=blocked", event, "discard_selected", reason="second")

    assert "is not blocked, or its relay is just trying it" in page
    assert OperatorAction.objects.count() == 1


def test_a_parked_record_is_shown_tried_again_and_discarded(staff):
    head = a_failed_record(value=b'{"lamp": 7}', headers='[["ce_type", "dGVzdC5saXQ="]]')
    behind = a_parked_record(offset=1)
    address = f"{PARKED}{head.pk.replace('/', '_2F')}/change/"

    page = text_of(staff.get(address))
    first = text_of(staff.get(PARKED, {"place": "first"}))
    retried = act(staff, PARKED, head, "retry_selected", back="1")
    refused = act(staff, PARKED, behind, "retry_selected")
    discarded = act(staff, PARKED, head, "discard_selected", reason="a test", back="1")

    assert "&quot;lamp&quot;: 7" in page
    assert 'value="retry_selected">Try again now' in page
    assert "test.lit" in page
    assert "ValueError: no" in page
    assert "/test.gates_2F0_2F0/" not in first
    assert "readers_2Ftest.gates_2F0_2F0" in first
    assert "readers_2Ftest.gates_2F0_2F1" not in first
    assert "To be tried again: 1 parked record." in retried
    assert "waits behind another record of its key" in refused
    assert "Discarded: 1 parked record." in discarded
    assert not ParkedRecord.objects.filter(pk=head.pk).exists()
    assert [
        each.action
        for each in OperatorAction.objects.filter(target=f"parked/{head.pk}").order_by("at")
    ] == ["retry_now", "discard_parked"]


def test_the_trail_lists_who_did_what_and_why(staff):
    letter = a_letter(event_id="e-1")
    dead_letters.discard(letter.pk, by="ben@example.com", reason="Sent by hand")

    listed = text_of(staff.get(f"{ADMIN}operatoraction/", {"action": "discard"}))
    found = text_of(staff.get(f"{ADMIN}operatoraction/", {"q": f"dead_letter/{letter.pk}"}))
    missed = text_of(staff.get(f"{ADMIN}operatoraction/", {"q": "dead_letter/none"}))
    of_letter = text_of(staff.get(f"{LETTERS}{letter.pk}/change/"))

    assert all("Sent by hand" in page for page in (listed, found, of_letter))
    assert "Sent by hand" not in missed


def test_a_dead_letter_is_found_by_its_event_in_whichever_state(staff):
    letter = a_letter(stage=Stage.RELAY, event_id="e-77")
    dead_letters.discard(letter.pk, by="ben", reason="x")

    assert str(letter.pk) in text_of(staff.get(LETTERS, {"q": "e-77"}))
    assert str(letter.pk) not in text_of(staff.get(LETTERS))


def test_the_replication_slot_is_shown(staff):
    now = timezone.now()
    ReplicationSlot.objects.create(
        name="outbox_x",
        confirmed_lsn="0/1",
        checkpoint_lsn="0/2",
        checkpoint_at=now,
        observed_at=now,
        fault="The replication slot is gone.",
    )

    assert "slot is gone" in text_of(staff.get(f"{ADMIN}replicationslot/"))


@pytest.mark.parametrize(
    ("model", "action", "make"),
    [
        ("outboxevent", "discard_selected", a_blocked_row),
        ("outboxevent", "retry_selected", a_blocked_row),
        ("parkedrecord", "discard_selected", a_failed_record),
        ("parkedrecord", "retry_selected", a_failed_record),
        ("deadletter", "discard_selected", a_letter),
        ("deadletter", "replay_selected", a_letter),
    ],
)
def test_who_may_only_look_decides_nothing(staff, model, action, make):
    row = make()
    address = f"{ADMIN}{model}/"
    staff.get(ADMIN)
    viewer = get_user_model().objects.get(email=WHO)
    viewer.is_superuser = False
    viewer.save()
    viewer.user_permissions.set(Permission.objects.filter(codename=f"view_{model}"))

    listed = text_of(staff.get(address))
    staff.post(address, {"action": action, "_selected_action": str(row.pk), "reason": "x"})

    assert f'value="{action}"' not in listed
    assert not OperatorAction.objects.exists()
