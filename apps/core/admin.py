"""What the admins of all services share: they look, and users are mere shadows (docs/adr/0002)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.http import HttpRequest

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[User]
else:
    # Only the stubs know which model an admin is of.
    ModelAdmin = admin.ModelAdmin


class ReadOnly:
    """Shows rows, and never writes them: services alone do, each change with its event."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        return False


class ShadowAdmin(ModelAdmin):
    """Who has used this admin. Staff are made and dismissed at the auth service alone."""

    list_display = ("email", "username", "is_active", "date_joined")
    search_fields = ("email", "username")
    ordering = ("email",)
    fields = ("email", "username", "is_active", "date_joined")
    readonly_fields = ("email", "username", "date_joined")

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ANN401, ARG002
        return False


# Nobody's rights come from groups: whoever the token calls staff may do everything here.
admin.site.unregister(Group)
if admin.site.is_registered(User):
    admin.site.unregister(User)
    admin.site.register(User, ShadowAdmin)
