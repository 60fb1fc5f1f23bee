"""The kinds of errors by which dead letters and parked records are told apart."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from ..actions import GIVEN_UP
from ..burials import HANDLER
from .lists import ChoiceFilter

KINDS = (
    HANDLER,
    *("bad_headers", "bad_row", "empty", "not_avro", "not_json", "refused_by_broker"),
    *("unknown_schema", "unknown_topic", "wrong_schema"),
    GIVEN_UP,
)
"""Those that this package gives. A project's own, of a Poison that its handler raises, is found by
a search."""


class KindFilter(ChoiceFilter):
    title = "error kind"
    parameter_name = "error_kind"

    def lookups(
        self,
        request: HttpRequest,  # noqa: ARG002
        model_admin: admin.ModelAdmin[Any],  # noqa: ARG002
    ) -> list[tuple[str, str]]:
        return [(kind, kind) for kind in KINDS]
