from __future__ import annotations

from django.contrib import admin

from apps.core.admin import ReadOnly
from apps.expiration.models import Deadline


@admin.register(Deadline)
class DeadlineAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs alone
    """Deadlines to look at: changing one by hand would publish no event."""

    list_display = ("order_id", "state", "expires_at", "settled_at")
    list_filter = ("state",)
    search_fields = ("order_id__exact",)
    ordering = ("-expires_at",)
    show_full_result_count = False
