"""Listings for the staff: to find, to look at, and to take down. Every change is a service's."""

from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.text import Truncator

from apps.core.admin import ReadOnly
from apps.core.errors import Conflict
from apps.core.templatetags.core import money
from apps.tickets import selectors, services
from apps.tickets.models import Ticket

SEARCHED_ROWS = 500


@admin.register(Ticket)
class TicketAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """Nothing can be typed in here: a change without its event would never reach the orders."""

    list_display = (
        "short_title",
        "price",
        "status",
        "seller_id",
        "order_id",
        "version",
        "updated_at",
    )
    list_filter = ("status", "is_withdrawn")
    list_per_page = 50
    ordering = ("-created_at", "-id")
    show_full_result_count = False
    search_fields = ("title",)
    search_help_text = "Words of the title, or the whole id of a ticket, seller or order."
    actions = ("take_down",)

    @admin.display(description="title", ordering="title")
    def short_title(self, ticket: Ticket) -> str:
        return Truncator(ticket.title).chars(60)

    @admin.display(ordering="price_cents")
    def price(self, ticket: Ticket) -> str:
        return money(ticket.price_cents, ticket.currency)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Ticket], search_term: str
    ) -> tuple[QuerySet[Ticket], bool]:
        """Search by the indexes: Django's own would read every title for a substring."""
        if not search_term.strip():
            return queryset, False
        found = selectors.list_tickets_matching(search_term.strip())[:SEARCHED_ROWS]
        if len(found) == SEARCHED_ROWS:
            messages.info(request, f"Only the newest {SEARCHED_ROWS} that match are shown.")
        return queryset.filter(pk__in=[ticket.pk for ticket in found]), False

    @admin.action(description="Take the listings down")
    def take_down(self, request: HttpRequest, queryset: QuerySet[Ticket]) -> None:
        for ticket in queryset:
            try:
                services.take_down_ticket(ticket_id=str(ticket.pk), now=timezone.now())
            except Conflict as exc:
                messages.error(request, f"{ticket}: {exc.message}.")
            else:
                messages.success(request, f"{ticket}: withdrawn.")
