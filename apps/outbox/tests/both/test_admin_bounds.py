"""What a page of the admin costs does not grow with the rows: asked of the databases' planners."""

from __future__ import annotations

import json
import re
import uuid
from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import RequestFactory
from django.utils import timezone

from apps.outbox import status
from apps.outbox.admin.events import aggregate_types
from apps.outbox.admin.lists import BoundedPaginator, ReadOnlyAdmin
from apps.outbox.models import DeadLetter, OperatorAction, OutboxEvent, ReceivedEvent
from apps.outbox.tests.operating import uuid7_of

pytestmark = pytest.mark.django_db(transaction=True)

MANY = 3000
NEWEST = 200
MOST = 300
# What a page may read: its rows, those that it counts, and the few of each state.
FEW = 500
TYPES = ("gate", "lamp", "door")


@pytest.fixture
def small_bounds(monkeypatch):
    monkeypatch.setattr(ReadOnlyAdmin, "NEWEST", NEWEST)
    monkeypatch.setattr(BoundedPaginator, "MOST", MOST)


@pytest.fixture
def many(small_bounds):
    """Thousands of rows that are done, and a few that wait or are dead, old and new ones."""
    now = timezone.now()
    OutboxEvent.objects.bulk_create(
        an_event(number, now - timedelta(seconds=MANY - number)) for number in range(MANY)
    )
    DeadLetter.objects.bulk_create(a_letter(number, now) for number in range(MANY // 2))
    ReceivedEvent.objects.bulk_create(
        ReceivedEvent(
            id=f"readers/{uuid7_of(now)}",
            type="t",
            topic="test.gates",
            partition=0,
            offset=number,
            key=f"k-{number}",
            received_at=now,
        )
        for number in range(MANY // 2)
    )
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")


def an_event(number, occurred_at):
    state = {7: "pending", 17: "dead", 27: "captured", 37: "pending"}.get(number % 400, "published")
    return OutboxEvent(
        id=uuid7_of(occurred_at),
        topic=f"test.{TYPES[number % 3]}s",
        key=f"k-{number}",
        slot=number % 64,
        aggregate_type=TYPES[number % 3],
        aggregate_id=f"k-{number}",
        version=1,
        type="t",
        record="r",
        payload=b"{}" * 100,
        occurred_at=occurred_at,
        due_at=occurred_at,
        state=state,
        attempts=int(number % 400 in {17, 37}),
    )


def a_letter(number, now):
    return DeadLetter(
        id=uuid.uuid4(),
        stage="consumer",
        group="readers",
        topic="test.gates",
        partition=0,
        offset=number,
        error_kind="handler",
        error_message="no",
        first_failed_at=now,
        last_failed_at=now - timedelta(seconds=number),
        state="discarded" if number % 100 else "open",
    )


def listed(model, **query):
    """Return the list of an admin page."""
    request = RequestFactory().get("/", query)
    request.user = get_user_model()(is_staff=True, is_active=True, is_superuser=True)
    return admin.site.get_model_admin(model).get_changelist_instance(request)


def examined(queryset):
    """Run the query, and return how many rows the database looked at."""
    if connection.vendor == "mongodb":
        plan = queryset.explain(verbosity="executionStats")
        counts = re.findall(r'"(?:totalDocsExamined|totalKeysExamined)": (\d+)', plan)
        return max(map(int, counts))
    [plan] = json.loads(queryset.explain(analyze=True, format="json"))
    return max(scanned(plan["Plan"]))


def scanned(node):
    for child in node.get("Plans", []):
        yield from scanned(child)
    removed = node.get("Rows Removed by Filter", 0)
    yield (node["Actual Rows"] + removed) * node["Actual Loops"]


EVENT_LISTS = [
    {},
    {"state": "pending"},
    {"state": "blocked"},
    {"state": "dead"},
    {"state": "dead", "topic": "test.gates"},
    {"state": "captured"},
    {"state": "published"},
    {"topic": "test.gates"},
    {"aggregate_type": "lamp"},
    {"aggregate_type": "lamp", "state": "pending"},
]


@pytest.mark.usefixtures("many")
def test_a_list_of_events_reads_what_it_shows(settings):
    settings.OUTBOX_TOPICS = ()
    for query in EVENT_LISTS:
        page = listed(OutboxEvent, **query)

        assert examined(page.queryset[:50]) <= FEW, query
        assert examined(page.queryset.order_by()[: MOST + 1]) <= FEW, query
        assert page.result_list, query


@pytest.mark.usefixtures("many")
def test_lists_of_dead_letters_and_of_what_was_received_read_what_they_show():
    for page in (
        listed(DeadLetter),
        listed(DeadLetter, state="discarded"),
        listed(ReceivedEvent),
        listed(ReceivedEvent, topic="test.gates"),
    ):
        assert examined(page.queryset[:50]) <= FEW
        assert examined(page.queryset.order_by()[: MOST + 1]) <= FEW
        assert page.result_list


@pytest.mark.usefixtures("many")
def test_a_search_goes_by_an_index():
    wanted = OutboxEvent.objects.order_by("pk")[5]
    events = admin.site.get_model_admin(OutboxEvent)

    found = [
        [row.pk for row in listed(OutboxEvent, q=term).result_list]
        for term in (str(wanted.pk), wanted.aggregate_id)
    ]

    assert found == [[wanted.pk]] * 2
    for condition in (*events.conditions(str(wanted.pk)), *events.conditions("k-5")):
        assert examined(OutboxEvent.objects.filter(**condition)) <= FEW


@pytest.mark.usefixtures("many")
def test_filters_are_offered_without_reading_the_table():
    assert aggregate_types() == sorted(TYPES)
    first = OutboxEvent.objects.filter(aggregate_type__gt="gate").order_by("aggregate_type")
    assert examined(first[:1]) <= FEW
    assert examined(OutboxEvent.objects.order_by("-pk")[NEWEST - 1 : NEWEST]) <= FEW


@pytest.mark.usefixtures("many")
def test_the_overview_reads_no_published_row():
    assert examined(status.waiting_rows()) <= FEW
    assert examined(OutboxEvent.objects.filter(**status.DEAD)) <= FEW
    assert status.estimated_rows() == MANY


@pytest.mark.usefixtures("many")
def test_a_long_list_is_counted_up_to_its_bound():
    OutboxEvent.objects.filter(state="published").update(state="pending")

    page = listed(OutboxEvent, state="pending")

    assert page.result_count == MOST
    assert page.paginator.has_more


@pytest.mark.usefixtures("many")
def test_blocked_keys_are_listed_without_reading_all_that_waits():
    OutboxEvent.objects.filter(state="published").update(state="pending")

    page = listed(OutboxEvent, state="blocked")

    assert examined(page.queryset[:50]) <= FEW
    assert {row.attempts for row in page.result_list} == {1}


@pytest.mark.usefixtures("many")
def test_the_newest_are_listed_and_no_more():
    page = listed(OutboxEvent)

    assert page.is_of_newest
    assert page.result_count == NEWEST
    assert page.result_list[0].pk == OutboxEvent.objects.order_by("-pk")[0].pk


@pytest.mark.usefixtures("small_bounds")
def test_a_short_table_is_listed_whole():
    OperatorAction.objects.create(at=timezone.now(), by="anna", action="discard", target="x")

    page = listed(OperatorAction)

    assert page.result_count == 1
