"""Events that have taken effect here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin

from ..conf import settings
from ..models import ReceivedEvent
from .lists import ReadOnlyAdmin, TopicFilter


@admin.register(ReceivedEvent)
class ReceivedEventAdmin(ReadOnlyAdmin):
    list_display = ("received_at", "type", "key", "version", "topic", "partition", "offset")
    list_filter = (TopicFilter,)
    search_fields = ("id",)
    search_help_text = "An event's id, or a key among the newest, whole."
    exact_search = ("id",)
    ordering = ("-id",)  # <group>/<UUIDv7>: by the time of the event, with the key's index

    def conditions(self, term: str) -> Iterable[dict[str, Any]]:
        yield from super().conditions(term)
        yield {"id": f"{settings.CONSUMER_GROUP}/{term}"}
        yield {"key": term} | self.newest()
