"""Events of the outbox, blocked keys among them, and how all queues stand."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from .. import actions, display, status
from ..models import OutboxEvent
from ..slots import SLOTS
from . import parts
from .deciding import Button, DecidingAdmin, name_of
from .lists import ChoiceFilter, TopicFilter, by_uuid

MOST_TYPES = 100
MOST_BLOCKED = 50
State = OutboxEvent.State
BY_KEY = ("slot", "aggregate_id", "version")
# Each state whose rows have an index of their own: what finds it, and its order.
INDEXED: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "blocked": (status.BLOCKED, ("occurred_at",)),
    State.PENDING: (status.WAITING, BY_KEY),
    State.CAPTURED: (
        {"state": State.CAPTURED, "occurred_at__gte": datetime(1970, 1, 1, tzinfo=UTC)},
        ("-occurred_at",),
    ),
    State.DEAD: (status.DEAD, ("occurred_at",)),
}


def find_index(state: str) -> tuple[dict[str, Any], tuple[str, ...]] | None:
    """Return what finds the rows of a state by their index, if they have one on this store."""
    if state == State.CAPTURED and connection.vendor == "mongodb":
        return None
    return INDEXED.get(state)


class StateFilter(ChoiceFilter):
    title = "state"
    parameter_name = "state"

    def lookups(
        self,
        request: HttpRequest,  # noqa: ARG002
        model_admin: admin.ModelAdmin[Any],  # noqa: ARG002
    ) -> list[tuple[str, str]]:
        return [("blocked", "blocking its key"), *((each.value, each.label) for each in State)]

    def matching(self, value: str) -> dict[str, Any]:
        return found[0] if (found := find_index(value)) else {"state": value}


class AggregateTypeFilter(ChoiceFilter):
    title = "aggregate type"
    parameter_name = "aggregate_type"

    def lookups(
        self,
        request: HttpRequest,  # noqa: ARG002
        model_admin: admin.ModelAdmin[Any],  # noqa: ARG002
    ) -> list[tuple[str, str]]:
        return [(each, each) for each in aggregate_types()]


@admin.register(OutboxEvent)
class OutboxEventAdmin(DecidingAdmin):
    list_display = ("occurred_at", "type", "aggregate_id", "version", "topic", "state", "attempts")
    list_filter = (StateFilter, TopicFilter, AggregateTypeFilter)
    search_fields = ("aggregate_id",)
    search_help_text = "An event's id or an aggregate's id, whole."
    actions = ("retry_selected", "discard_selected")
    consequence = (
        "A discarded event is never sent, and its key goes on without it: readers see a gap in its "
        "versions. It stays to be seen as a dead letter, with your name and reason."
    )
    fieldsets = (
        (None, {"fields": ("state", "error", "attempts", "due_at", "behind")}),
        ("The event", {"fields": ("id", "type", "event", "header_table")}),
        ("Where to", {"fields": ("topic", "key", "aggregate_type", "aggregate_id", "version")}),
        ("When", {"fields": ("occurred_at", "published_at")}),
        ("Who did what", {"fields": ("trail",)}),
    )
    readonly_fields = ("event", "header_table", "error", "behind", "trail")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.queues_view)
        return [path("queues/", view, name="outbox_queues"), *super().get_urls()]

    def queues_view(self, request: HttpRequest) -> HttpResponse:
        """Show how sending and receiving stand, as far as the store tells."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        now = status.collect(with_kafka=False)
        served = sum(relay.slots for relay in now.relays if relay.is_alive)
        context = {
            **self.admin_site.each_context(request),
            "title": "Queues",
            "opts": self.opts,
            "media": self.media,
            "now": now,
            "age": display.duration(now.oldest_age),
            "blocked": now.blocked[:MOST_BLOCKED],
            "parked": sum(each.records for each in now.parked),
            "slots": SLOTS,
            "unserved": SLOTS - served,
        }
        return TemplateResponse(request, "admin/outbox/queues.html", context)

    def is_bounded(self, request: HttpRequest) -> bool:
        return find_index(request.GET.get("state", "")) is not None

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        _, order = find_index(request.GET.get("state", "")) or ({}, ("-id",))
        return order  # UUIDv7: by time, with the primary key's index

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        if request.GET.get("state") != "blocked":
            return tuple(self.list_display)
        return ("type", "error_line", "key", "version", "attempts", "due_at")

    def conditions(self, term: str) -> Iterable[dict[str, Any]]:
        # The index of aggregates begins with their type.
        yield {"aggregate_type__in": aggregate_types(), "aggregate_id": term}
        yield from by_uuid(term)

    def buttons(self, row: OutboxEvent) -> list[Button]:
        if row.state != State.PENDING or not row.attempts:
            return []
        return [
            Button(action="retry_selected", label="Try again now", is_default=True),
            Button(action="discard_selected", label="Discard…"),
        ]

    @admin.display(description="event")
    def event(self, row: OutboxEvent) -> SafeString:
        return parts.pre(display.value_text(bytes(row.payload)))

    @admin.display(description="headers")
    def header_table(self, row: OutboxEvent) -> SafeString | str:
        headers = display.json_object(row.headers)
        return parts.table(headers.items()) if headers else "None of its own."

    @admin.display(description="last error")
    def error(self, row: OutboxEvent) -> SafeString | str:
        return parts.error(row.last_error) if row.last_error else "None."

    @admin.display(description="error")
    def error_line(self, row: OutboxEvent) -> str:
        return display.first_line(row.last_error)

    @admin.display(description="waiting of its key")
    def behind(self, row: OutboxEvent) -> int:
        rows = status.waiting_rows().filter(slot=row.slot, aggregate_id=row.aggregate_id)
        return rows.filter(topic=row.topic, key=row.key).count()

    @admin.display(description="trail")
    def trail(self, row: OutboxEvent) -> SafeString:
        return parts.trail(f"event/{row.pk}")

    @admin.action(description="Try again now", permissions=["resolve"])
    def retry_selected(
        self, request: HttpRequest, rows: QuerySet[OutboxEvent]
    ) -> HttpResponse | None:
        retry = partial(actions.retry_event, by=name_of(request))
        return self.decide(request, rows, retry, "To be tried again")

    @admin.action(description="Discard…", permissions=["resolve"])
    def discard_selected(
        self, request: HttpRequest, rows: QuerySet[OutboxEvent]
    ) -> HttpResponse | None:
        """Ask for the reason, then discard."""

        def discard(rows: QuerySet[OutboxEvent], reason: str) -> HttpResponse | None:
            one = partial(actions.discard_event, by=name_of(request), reason=reason)
            return self.decide(request, rows, one, "Discarded", reason)

        return self.discard(request, rows, discard)


def aggregate_types() -> list[str]:
    """Return the types that the outbox holds, each found by one step through the index."""
    found: list[str] = []
    last = ""
    while len(found) < MOST_TYPES:
        rows = OutboxEvent.objects.filter(aggregate_type__gt=last).order_by("aggregate_type")
        row = rows.first()
        if row is None:
            break
        last = row.aggregate_type
        found.append(last)
    return found
