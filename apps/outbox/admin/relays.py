"""Who sends: relays and their slots, or the replication slot of change data capture."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest

from ..models import RelayMember, RelaySlot, ReplicationSlot
from .lists import ReadOnlyAdmin


class FewRowsAdmin(ReadOnlyAdmin):
    def is_bounded(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return True


@admin.register(RelayMember)
class RelayMemberAdmin(FewRowsAdmin):
    list_display = ("owner", "started_at", "expires_at")
    ordering = ("owner",)


@admin.register(RelaySlot)
class RelaySlotAdmin(FewRowsAdmin):
    list_display = ("number", "owner", "epoch")
    list_per_page = 64
    ordering = ("number",)


@admin.register(ReplicationSlot)
class ReplicationSlotAdmin(FewRowsAdmin):
    list_display = ("name", "confirmed_lsn", "confirmed_at", "observed_at", "fault")
    ordering = ("name",)
