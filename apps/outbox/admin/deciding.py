"""Rows that a person may decide upon: try again, or give up for a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import quote, unquote
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse

from ..dead_letters import Refused
from .lists import ReadOnlyAdmin

MOST_AT_ONCE = 500
BACK = "back"


@dataclass(frozen=True, kw_only=True)
class Button:
    """An action that the page of a row offers."""

    action: str
    label: str
    is_default: bool = False


class DecidingAdmin(ReadOnlyAdmin):
    change_form_template = "admin/outbox/change_form.html"
    consequence = ""
    """What a discard means for such a row, in a sentence."""

    def has_resolve_permission(self, request: HttpRequest) -> bool:
        """Say whether the person may decide what becomes of a row."""
        return request.user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}")

    def buttons(self, row: Any) -> list[Button]:  # noqa: ANN401 (of the admin's model)
        """Return what may be done to the row as it stands."""
        raise NotImplementedError

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        may = row is not None and self.has_resolve_permission(request)
        context = {"buttons": self.buttons(row) if may else [], **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)

    def discard(
        self,
        request: HttpRequest,
        rows: QuerySet[Any],
        discard: Callable[[QuerySet[Any], str], HttpResponse | None],
    ) -> HttpResponse | None:
        """Ask for the reason, and discard once it is given."""
        reason = request.POST.get("reason", "").strip()
        return discard(rows, reason) if reason else self._ask_reason(request, rows)

    def decide(
        self,
        request: HttpRequest,
        rows: QuerySet[Any],
        decide: Callable[[Any], None],
        done: str,
        why: str = "",
    ) -> HttpResponse | None:
        """Decide upon each row, tell what was refused, and go back to where it was asked."""
        chosen = self.chosen(request, rows)
        self.report(request, [(row, _refusal(decide, row)) for row in chosen], done, why)
        return self.back(request, chosen)

    def chosen(self, request: HttpRequest, rows: QuerySet[Any]) -> list[Any]:
        """Return the rows; none, and say so, if they are too many for one request."""
        chosen = list(rows[: MOST_AT_ONCE + 1])
        if len(chosen) <= MOST_AT_ONCE:
            return chosen
        text = f"More than {MOST_AT_ONCE} are too many at once: nothing was done."
        self.message_user(request, text, messages.ERROR)
        return []

    def report(
        self, request: HttpRequest, decisions: Iterable[tuple[Model, str]], done: str, why: str = ""
    ) -> None:
        """Tell what was done, and which rows were refused for what."""
        decided = 0
        for row, refusal in decisions:
            if refusal:
                self.message_user(request, refusal, messages.ERROR)
            else:
                self.log_change(request, row, f"{done}: {why}" if why else done)
                decided += 1
        if decided:
            name = self.opts.verbose_name if decided == 1 else self.opts.verbose_name_plural
            self.message_user(request, f"{done}: {decided} {name}.", messages.SUCCESS)

    def back(self, request: HttpRequest, rows: list[Any]) -> HttpResponse | None:
        """Return to the page of the row if it came from there and still exists."""
        if BACK not in request.POST or len(rows) != 1:
            return None
        if not self.model.objects.filter(pk=rows[0].pk).exists():
            return None
        return redirect(self._address("change", quote(rows[0].pk)))

    def _ask_reason(self, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse:
        chosen = list(rows[: MOST_AT_ONCE + 1])
        context = {
            **self.admin_site.each_context(request),
            "title": f"Discard {self.opts.verbose_name_plural}",
            "opts": self.opts,
            "rows": [(self._address("change", quote(row.pk)), row) for row in chosen],
            "is_too_many": len(chosen) > MOST_AT_ONCE,
            "most": MOST_AT_ONCE,
            "consequence": self.consequence,
            "media": self.media,
            "checkbox_name": ACTION_CHECKBOX_NAME,
            "action": request.POST["action"],
            "back": BACK in request.POST,
            "list_address": request.get_full_path(),
            "reason_is_missing": "reason" in request.POST,
        }
        return TemplateResponse(request, "admin/outbox/discard.html", context)

    def _address(self, page: str, *arguments: str) -> str:
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}"
        return reverse(name, args=arguments, current_app=self.admin_site.name)


def name_of(request: HttpRequest) -> str:
    """Return whom the audit trail names: the e-mail address, since a user's name may be an id."""
    return getattr(request.user, "email", "") or request.user.get_username()


def _refusal(decide: Callable[[Any], None], row: Model) -> str:
    try:
        decide(row.pk)
    except Refused as exc:
        return str(exc)
    return ""
