"""Dead letters: to replay, or to discard with a reason."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from .. import dead_letters, display
from ..models import DeadLetter
from ..redrive import decide_all
from . import parts
from .deciding import Button, DecidingAdmin, name_of
from .kinds import KindFilter
from .lists import ChoiceFilter, TopicFilter, by_uuid


class StateFilter(ChoiceFilter):
    title = "state"
    parameter_name = "state"
    default = DeadLetter.State.OPEN

    def lookups(
        self,
        request: HttpRequest,  # noqa: ARG002
        model_admin: admin.ModelAdmin[Any],  # noqa: ARG002
    ) -> list[tuple[str, str]]:
        return [(each.value, str(each.label)) for each in DeadLetter.State]


@admin.register(DeadLetter)
class DeadLetterAdmin(DecidingAdmin):
    list_display = (
        *("last_failed_at", "state", "error_kind", "error", "event_type", "key_text"),
        *("topic", "attempts", "replays", "resolved_by"),
    )
    list_filter = (StateFilter, "stage", KindFilter, TopicFilter)
    search_fields = ("event_id",)
    search_help_text = "A dead letter's id, an event's id, a key or a kind of error, whole."
    exact_search = ("event_id", "error_kind")
    ordering = ("-last_failed_at",)
    actions = ("replay_selected", "discard_selected")
    consequence = (
        "A discarded dead letter is never handled. It stays to be seen, with your name and reason."
    )
    fieldsets = (
        (None, {"fields": ("state", "error_kind", "error_text", "attempts", "replays")}),
        ("The event", {"fields": ("event_id", "event_type", "key_text", "value_text")}),
        ("Its headers", {"fields": ("header_table",)}),
        (
            "Where and when",
            {
                "fields": (
                    *("id", "stage", "topic", "group", "partition", "offset"),
                    *("first_failed_at", "last_failed_at"),
                )
            },
        ),
        ("Who did what", {"fields": ("resolved_at", "resolved_by", "resolution", "trail")}),
    )
    readonly_fields = (
        *("event_type", "key_text", "value_text", "header_table", "error_text", "trail"),
    )

    def is_bounded(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return True  # one state at a time, by the index of states

    def conditions(self, term: str) -> Iterable[dict[str, Any]]:
        yield from super().conditions(term)
        yield from by_uuid(term)
        yield {"key": term.encode()}

    def buttons(self, row: DeadLetter) -> list[Button]:
        if row.state != DeadLetter.State.OPEN:
            return []
        return [
            Button(action="replay_selected", label="Replay", is_default=True),
            Button(action="discard_selected", label="Discard…"),
        ]

    @admin.display(description="key")
    def key_text(self, letter: DeadLetter) -> str:
        return display.key_text(letter.key)

    @admin.display(description="type")
    def event_type(self, letter: DeadLetter) -> str:
        return dict(display.header_texts(letter.headers)).get("ce_type", "")

    @admin.display(description="error")
    def error(self, letter: DeadLetter) -> str:
        return display.first_line(letter.error_message)

    @admin.display(description="error")
    def error_text(self, letter: DeadLetter) -> SafeString:
        return parts.error(letter.error_message)

    @admin.display(description="event")
    def value_text(self, letter: DeadLetter) -> SafeString:
        return parts.pre(display.value_text(None if letter.value is None else bytes(letter.value)))

    @admin.display(description="headers")
    def header_table(self, letter: DeadLetter) -> SafeString:
        return parts.table(display.header_texts(letter.headers))

    @admin.display(description="trail")
    def trail(self, letter: DeadLetter) -> SafeString:
        return parts.trail(f"dead_letter/{letter.pk}")

    @admin.action(description="Replay", permissions=["resolve"])
    def replay_selected(
        self, request: HttpRequest, letters: QuerySet[DeadLetter]
    ) -> HttpResponse | None:
        """Ask for each, in the order of its key."""
        replay = partial(dead_letters.request_replay, by=name_of(request))
        chosen = self.chosen(request, letters.order_by("first_failed_at"))
        decisions = [(each.letter, each.refusal) for each in decide_all(chosen, replay)]
        self.report(request, decisions, "Replay requested")
        return self.back(request, chosen)

    @admin.action(description="Discard…", permissions=["resolve"])
    def discard_selected(
        self, request: HttpRequest, letters: QuerySet[DeadLetter]
    ) -> HttpResponse | None:
        """Ask for the reason, then discard."""

        def discard(letters: QuerySet[DeadLetter], reason: str) -> HttpResponse | None:
            one = partial(dead_letters.discard, by=name_of(request), reason=reason)
            return self.decide(request, letters, one, "Discarded", reason)

        return self.discard(request, letters, discard)
