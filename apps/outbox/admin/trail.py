"""Who did what, to which thing, when and why."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from .. import display
from ..models import OperatorAction
from .lists import ChoiceFilter, ReadOnlyAdmin

ACTIONS = (
    *("retry_now", "request_replay", "replay", "discard", "discard_event", "discard_parked"),
    *("sent_after_all", "repair", "prune", "switch_transport", "recover_slot", "accept_slot_loss"),
)


class ActionFilter(ChoiceFilter):
    title = "action"
    parameter_name = "action"

    def lookups(
        self,
        request: HttpRequest,  # noqa: ARG002
        model_admin: admin.ModelAdmin[Any],  # noqa: ARG002
    ) -> list[tuple[str, str]]:
        return [(action, action.replace("_", " ")) for action in ACTIONS]


@admin.register(OperatorAction)
class OperatorActionAdmin(ReadOnlyAdmin):
    list_display = ("at", "by", "action", "why", "target")
    list_filter = (ActionFilter,)
    search_fields = ("target",)
    search_help_text = "What it was done to, such as event/<id>, or a name among the newest."
    ordering = ("-id",)  # UUIDv7: by time, with the primary key's index
    fields = ("at", "by", "action", "target", "note")

    def conditions(self, term: str) -> list[dict[str, Any]]:
        return [{"target": term}, {"by": term} | self.newest()]

    @admin.display(description="why")
    def why(self, row: OperatorAction) -> str:
        return display.first_line(row.note)
