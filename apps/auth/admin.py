"""Users in the admin: to find, to close, to let into the administration."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from apps.auth import services
from apps.auth.models import User

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[User]
else:
    # Only the stubs know which model an admin is of.
    ModelAdmin = admin.ModelAdmin


@admin.register(User)
class UserAdmin(ModelAdmin):
    """Read-only but for the actions, which go through services and so publish what changed."""

    list_display = ("email", "is_active", "is_staff", "registered_at", "id")
    list_filter = ("is_active", "is_staff")
    search_fields = ("email", "id__exact")
    search_help_text = "An address, a part of one, or a user id"
    ordering = ("-registered_at",)
    date_hierarchy = None
    list_per_page = 50
    show_full_result_count = False
    fields = ("email", "is_active", "is_staff", "version", "registered_at")
    actions = ("close", "reopen", "let_in", "keep_out")

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:  # noqa: ARG002
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:  # noqa: ARG002
        return ("email", "is_active", "is_staff", "version", "registered_at")

    @admin.action(description="Close the selected accounts", permissions=["change"])
    def close(self, request: HttpRequest, chosen: QuerySet[User]) -> None:
        self._each(
            request,
            chosen,
            lambda user_id: services.set_active(
                user_id=user_id, is_active=False, now=timezone.now()
            ),
            "closed; they stay signed in elsewhere until their token expires",
        )

    @admin.action(description="Reopen the selected accounts", permissions=["change"])
    def reopen(self, request: HttpRequest, chosen: QuerySet[User]) -> None:
        self._each(
            request,
            chosen,
            lambda user_id: services.set_active(
                user_id=user_id, is_active=True, now=timezone.now()
            ),
            "open again",
        )

    @admin.action(description="Let into the administration", permissions=["change"])
    def let_in(self, request: HttpRequest, chosen: QuerySet[User]) -> None:
        self._each(
            request,
            chosen,
            lambda user_id: services.set_staff(user_id=user_id, is_staff=True),
            "now staff, from their next sign-in on",
        )

    @admin.action(description="Keep out of the administration", permissions=["change"])
    def keep_out(self, request: HttpRequest, chosen: QuerySet[User]) -> None:
        self._each(
            request,
            chosen,
            lambda user_id: services.set_staff(user_id=user_id, is_staff=False),
            "no longer staff; elsewhere their token says so until it expires",
        )

    def _each(
        self,
        request: HttpRequest,
        chosen: QuerySet[User],
        change: Callable[[str], object],
        outcome: str,
    ) -> None:
        """Change the chosen users one by one, the member of staff who does it left out."""
        user_ids = [str(each) for each in chosen.values_list("pk", flat=True)]
        others = [user_id for user_id in user_ids if user_id != str(request.user.pk)]
        for user_id in others:
            change(user_id)
        if len(others) < len(user_ids):
            self.message_user(request, "Your own account was left alone.", messages.WARNING)
        if others:
            self.message_user(request, f"{len(others)} accounts are {outcome}.", messages.SUCCESS)
