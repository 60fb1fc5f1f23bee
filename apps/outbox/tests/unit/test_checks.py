from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
from django.apps import apps
from django.test import override_settings

from apps.outbox import checks
from apps.outbox.checks import check_events, check_handlers, declared_events
from apps.outbox.topics import Topic


@dataclass(frozen=True, kw_only=True)
class OrderCreated:
    """Reads like the published event of that name, and asks for a field that it lacks."""

    topic: ClassVar[str] = "ticketing.nowhere"
    namespace: ClassVar[str] = "ticketing.orders"
    type: ClassVar[str] = "ticketing.orders.order.created.v1"
    aggregate_type: ClassVar[str] = "order"

    order_id: str
    colour: str


@dataclass(frozen=True, kw_only=True)
class OrderForgotten(OrderCreated):
    topic: ClassVar[str] = "ticketing.orders"


HANDLERS = {OrderForgotten: print}
NO_TABLE = [OrderForgotten]


def ids(errors):
    return [error.id for error in errors]


def here(name):
    return f"{__name__}.{name}"


def test_the_services_events_and_handlers_are_in_order():
    assert check_events(None) == []
    assert check_handlers(None) == []


def test_the_events_of_a_service_are_found():
    service = next(
        each
        for each in apps.get_app_configs()
        if each.name != "apps.outbox"
        and each.name.startswith("apps.")
        and list(declared_events(each))
    )

    assert all(event.topic.startswith("ticketing.") for event in declared_events(service))


def test_an_event_needs_a_topic_and_fields_that_its_schema_has():
    assert ids(checks._faults(OrderCreated)) == ["outbox.E001", "outbox.E008"]


def test_an_event_needs_a_schema():
    assert ids(checks._faults(OrderForgotten)) == ["outbox.E002"]


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("apps.nowhere.HANDLERS", "outbox.E003"),
        (here("MISSING"), "outbox.E003"),
        (here("NO_TABLE"), "outbox.E004"),
    ],
)
def test_the_table_of_handlers_must_be_one(path, error):
    with override_settings(EVENT_HANDLERS=path):
        assert ids(check_handlers(None)) == [error]


@pytest.mark.parametrize(
    ("declared", "errors"),
    [
        ((), ["outbox.E005"]),
        (("ticketing.users",), ["outbox.E005"]),
        (("ticketing.orders",), []),
    ],
)
def test_what_a_group_reads_must_be_declared(monkeypatch, declared, errors):
    monkeypatch.setattr(checks, "import_string", lambda _path: HANDLERS)

    with override_settings(
        EVENT_HANDLERS="x", CONSUMER_GROUP="readers", OUTBOX_CONSUMERS={"readers": declared}
    ):
        assert ids(check_handlers(None)) == errors


def test_a_service_may_read_nothing():
    with override_settings(EVENT_HANDLERS=""):
        assert check_handlers(None) == []


def test_declared_topics_are_enough_for_an_event():
    with override_settings(OUTBOX_TOPICS=(Topic("ticketing.nowhere", 1, "For this test."),)):
        assert ids(checks._faults(OrderCreated)) == ["outbox.E008"]
