"""What was sent, received and given up: to look at, and for dead letters to decide upon."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from . import dead_letters, display
from .conf import settings
from .models import DeadLetter, OutboxEvent, ReceivedEvent, RelayMember, RelaySlot
from .redrive import Decide, decide_all

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    # Only the stubs know which model an admin is of.
    ModelAdmin = admin.ModelAdmin


class TopicFilter(admin.SimpleListFilter):
    """The topics that are declared: to ask the table itself would read all of it."""

    title = "topic"
    parameter_name = "topic"

    def lookups(
        self,
        request: HttpRequest,  # noqa: ARG002
        model_admin: admin.ModelAdmin[Any],  # noqa: ARG002
    ) -> list[tuple[str, str]]:
        return [(topic.name, topic.name) for topic in settings.OUTBOX_TOPICS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002
        return queryset.filter(topic=self.value()) if self.value() else queryset


class ReadOnlyAdmin(ModelAdmin):
    """Rows that only the outbox itself may write."""

    list_per_page = 50
    show_full_result_count = False
    exact_search: ClassVar[tuple[str, ...]] = ()
    """Fields that a search compares whole: an index can do that, and a substring needs none."""

    class Media:
        css: ClassVar = {"all": ("outbox/admin.css",)}

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        return False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return super().get_search_results(request, queryset, "")
        found = queryset.none()
        for condition in self._conditions(term):
            found |= queryset.filter(**condition)
        return found, False

    def _conditions(self, term: str) -> Iterable[dict[str, Any]]:
        for name in self.exact_search:
            yield {name: term}


@admin.register(OutboxEvent)
class OutboxEventAdmin(ReadOnlyAdmin):
    list_display = ("occurred_at", "type", "aggregate_id", "version", "topic", "state", "attempts")
    list_filter = ("state", TopicFilter, "aggregate_type")
    search_fields = ("aggregate_id",)
    search_help_text = "An event's id, an aggregate's id or a type, whole."
    exact_search = ("aggregate_id", "type")
    ordering = ("-id",)  # UUIDv7: by time, with the primary key's index
    fieldsets = (
        (None, {"fields": ("id", "type", "event", "header_table")}),
        ("Where to", {"fields": ("topic", "key", "aggregate_type", "aggregate_id", "version")}),
        (
            "How far",
            {
                "fields": (
                    "state",
                    "attempts",
                    "occurred_at",
                    "due_at",
                    "published_at",
                    "last_error",
                )
            },
        ),
    )
    readonly_fields = ("event", "header_table")

    def _conditions(self, term: str) -> Iterable[dict[str, Any]]:
        yield from super()._conditions(term)
        yield from _by_uuid(term)

    @admin.display(description="event")
    def event(self, row: OutboxEvent) -> SafeString:
        return _pre(display.value_text(bytes(row.payload)))

    @admin.display(description="headers")
    def header_table(self, row: OutboxEvent) -> SafeString:
        return _table(display.json_object(row.headers).items())


@admin.register(ReceivedEvent)
class ReceivedEventAdmin(ReadOnlyAdmin):
    list_display = ("received_at", "type", "key", "version", "topic", "partition", "offset")
    list_filter = (TopicFilter,)
    search_fields = ("key",)
    search_help_text = "An event's id or a key, whole."
    exact_search = ("key", "id")
    ordering = ("-id",)  # <group>/<UUIDv7>: by the time of the event, with the key's index

    def _conditions(self, term: str) -> Iterable[dict[str, Any]]:
        yield from super()._conditions(term)
        yield {"id": f"{settings.CONSUMER_GROUP}/{term}"}


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    list_display = (
        *("last_failed_at", "state", "error_kind", "error", "event_type", "key_text"),
        *("topic", "attempts", "replays", "resolved_by"),
    )
    list_filter = ("state", "stage", "error_kind", TopicFilter)
    search_fields = ("event_id",)
    search_help_text = "A dead letter's id, an event's id, a key or a kind of error, whole."
    exact_search = ("event_id", "error_kind")
    ordering = ("-last_failed_at",)
    actions = ("replay_selected", "discard_selected")
    change_form_template = "admin/outbox/deadletter/change_form.html"
    fieldsets = (
        (None, {"fields": ("state", "error_kind", "error_message", "attempts", "replays")}),
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
        ("Who did what", {"fields": ("resolved_at", "resolved_by", "resolution")}),
    )
    readonly_fields = ("event_type", "key_text", "value_text", "header_table")

    def has_resolve_permission(self, request: HttpRequest) -> bool:
        """Say whether the person may decide what becomes of a letter."""
        return request.user.has_perm("outbox.change_deadletter")

    def _conditions(self, term: str) -> Iterable[dict[str, Any]]:
        yield from super()._conditions(term)
        yield from _by_uuid(term)
        yield {"key": term.encode()}

    @admin.display(description="key")
    def key_text(self, letter: DeadLetter) -> str:
        return display.key_text(letter.key)

    @admin.display(description="type")
    def event_type(self, letter: DeadLetter) -> str:
        return dict(display.header_texts(letter.headers)).get("ce_type", "")

    @admin.display(description="error")
    def error(self, letter: DeadLetter) -> str:
        return display.first_line(letter.error_message)

    @admin.display(description="event")
    def value_text(self, letter: DeadLetter) -> SafeString:
        return _pre(display.value_text(None if letter.value is None else bytes(letter.value)))

    @admin.display(description="headers")
    def header_table(self, letter: DeadLetter) -> SafeString:
        return _table(display.header_texts(letter.headers))

    @admin.action(description="Replay", permissions=["resolve"])
    def replay_selected(self, request: HttpRequest, letters: QuerySet[DeadLetter]) -> None:
        decide = partial(dead_letters.request_replay, by=_name(request))
        self._decide(request, letters, decide, "Replay requested", in_order=True)

    @admin.action(description="Discard…", permissions=["resolve"])
    def discard_selected(
        self, request: HttpRequest, letters: QuerySet[DeadLetter]
    ) -> HttpResponse | None:
        """Ask for the reason, then discard."""
        reason = request.POST.get("reason", "").strip()
        if not reason:
            return self._ask_reason(request, letters, is_asked="reason" in request.POST)
        decide = partial(dead_letters.discard, by=_name(request), reason=reason)
        self._decide(request, letters, decide, f"Discarded: {reason}", in_order=False)
        return None

    def _ask_reason(
        self, request: HttpRequest, letters: QuerySet[DeadLetter], *, is_asked: bool
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "Discard dead letters",
            "opts": self.opts,
            "letters": letters,
            "media": self.media,
            "checkbox_name": ACTION_CHECKBOX_NAME,
            "reason_is_missing": is_asked,
        }
        return TemplateResponse(request, "admin/outbox/deadletter/discard.html", context)

    def _decide(
        self,
        request: HttpRequest,
        letters: QuerySet[DeadLetter],
        decide: Decide,
        what: str,
        *,
        in_order: bool,
    ) -> None:
        decided = 0
        for decision in decide_all(
            letters.order_by("first_failed_at"), decide, keep_order=in_order
        ):
            if decision.refusal:
                self.message_user(request, decision.refusal, messages.ERROR)
            else:
                self.log_change(request, decision.letter, what)
                decided += 1
        if decided:
            self.message_user(request, f"{what}: {decided} dead letter(s).", messages.SUCCESS)


@admin.register(RelayMember)
class RelayMemberAdmin(ReadOnlyAdmin):
    list_display = ("owner", "started_at", "expires_at")


@admin.register(RelaySlot)
class RelaySlotAdmin(ReadOnlyAdmin):
    list_display = ("number", "owner", "epoch")
    ordering = ("number",)


def _name(request: HttpRequest) -> str:
    """Return whom the audit trail names: the e-mail address, since a user's name may be an id."""
    return getattr(request.user, "email", "") or request.user.get_username()


def _by_uuid(term: str) -> Iterable[dict[str, uuid.UUID]]:
    try:
        yield {"pk": uuid.UUID(term)}
    except ValueError:
        return


def _pre(text: str) -> SafeString:
    return format_html('<pre class="outbox-event">{}</pre>', text)


def _table(rows: Iterable[tuple[str, str]]) -> SafeString:
    cells = format_html_join("", "<tr><th scope=row>{}</th><td>{}</td></tr>", rows)
    return format_html("<table>{}</table>", cells)
