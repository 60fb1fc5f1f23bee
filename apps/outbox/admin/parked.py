"""Parked records: those that failed and hold up their keys, and those that wait behind them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from .. import actions, display
from ..models import ParkedRecord
from . import parts
from .deciding import Button, DecidingAdmin, name_of
from .kinds import KindFilter
from .lists import ChoiceFilter, TopicFilter


class PlaceFilter(ChoiceFilter):
    title = "place in its key"
    parameter_name = "place"

    def lookups(
        self,
        request: HttpRequest,  # noqa: ARG002
        model_admin: admin.ModelAdmin[Any],  # noqa: ARG002
    ) -> list[tuple[str, str]]:
        return [("first", "has failed, and blocks its key"), ("behind", "waits behind another")]

    def matching(self, value: str) -> dict[str, Any]:
        return {"error_message": ""} if value == "behind" else {"error_message__gt": ""}


@admin.register(ParkedRecord)
class ParkedRecordAdmin(DecidingAdmin):
    list_display = (
        *("event_type", "error", "key_text", "attempts", "due", "topic", "partition", "offset"),
        *("group", "parked_at"),
    )
    list_filter = (PlaceFilter, KindFilter, TopicFilter)
    search_fields = ("event_id",)
    search_help_text = "A record's id, an event's id or a key, whole."
    exact_search = ("id", "event_id")
    ordering = ("group", "topic", "partition", "offset")
    actions = ("retry_selected", "discard_selected")
    consequence = (
        "A discarded record never takes effect, and its key goes on without it. It stays to be "
        "seen as a dead letter, with your name and reason."
    )
    fieldsets = (
        (None, {"fields": ("error_kind", "error_text", "attempts", "due_at", "behind")}),
        ("The event", {"fields": ("event_id", "event_type", "key_text", "value_text")}),
        ("Its headers", {"fields": ("header_table",)}),
        (
            "Where and when",
            {"fields": ("group", "topic", "partition", "offset", "first_failed_at", "parked_at")},
        ),
        ("Who did what", {"fields": ("trail",)}),
    )
    readonly_fields = (
        *("event_type", "key_text", "value_text", "header_table", "error_text", "behind"),
        "trail",
    )

    def is_bounded(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return True  # what is parked is let go again; the order is that of the index

    def conditions(self, term: str) -> Iterable[dict[str, Any]]:
        yield from super().conditions(term)
        yield {"key": term.encode()}

    def buttons(self, row: ParkedRecord) -> list[Button]:
        discard = Button(action="discard_selected", label="Discard…")
        if not row.error_message:
            return [discard]
        return [Button(action="retry_selected", label="Try again now", is_default=True), discard]

    @admin.display(description="key")
    def key_text(self, row: ParkedRecord) -> str:
        return display.key_text(row.key)

    @admin.display(description="type")
    def event_type(self, row: ParkedRecord) -> str:
        return dict(display.header_texts(row.headers)).get("ce_type", "(unknown)")

    @admin.display(description="error")
    def error(self, row: ParkedRecord) -> str:
        return display.first_line(row.error_message) or "waits behind another"

    @admin.display(description="error")
    def error_text(self, row: ParkedRecord) -> SafeString | str:
        if not row.error_message:
            return "None: it waits behind another record of its key."
        return parts.error(row.error_message)

    @admin.display(description="due")
    def due(self, row: ParkedRecord) -> Any:  # noqa: ANN401 (Django formats it)
        return row.due_at if row.error_message else None

    @admin.display(description="parked of its key")
    def behind(self, row: ParkedRecord) -> int:
        place = ParkedRecord.objects.filter(
            group=row.group, topic=row.topic, partition=row.partition
        )
        return place.filter(key_hash=row.key_hash).count()

    @admin.display(description="event")
    def value_text(self, row: ParkedRecord) -> SafeString:
        return parts.pre(display.value_text(None if row.value is None else bytes(row.value)))

    @admin.display(description="headers")
    def header_table(self, row: ParkedRecord) -> SafeString:
        return parts.table(display.header_texts(row.headers))

    @admin.display(description="trail")
    def trail(self, row: ParkedRecord) -> SafeString:
        return parts.trail(f"parked/{row.pk}")

    @admin.action(description="Try again now", permissions=["resolve"])
    def retry_selected(
        self, request: HttpRequest, rows: QuerySet[ParkedRecord]
    ) -> HttpResponse | None:
        retry = partial(actions.retry_parked, by=name_of(request))
        return self.decide(request, rows, retry, "To be tried again")

    @admin.action(description="Discard…", permissions=["resolve"])
    def discard_selected(
        self, request: HttpRequest, rows: QuerySet[ParkedRecord]
    ) -> HttpResponse | None:
        """Ask for the reason, then discard."""

        def discard(rows: QuerySet[ParkedRecord], reason: str) -> HttpResponse | None:
            one = partial(actions.discard_parked, by=name_of(request), reason=reason)
            return self.decide(request, rows, one, "Discarded", reason)

        return self.discard(request, rows, discard)
