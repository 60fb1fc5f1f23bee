from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.text import Truncator

from apps.core.admin import ReadOnly
from apps.core.templatetags.core import money
from apps.orders import selectors
from apps.orders.models import Order, Refund, TicketCopy, parse_order_id
from apps.orders.web.timeline import tell_staff
from apps.outbox.models import OutboxEvent, ReceivedEvent

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable
    from datetime import datetime

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern
    from django.utils.safestring import SafeString


TITLE_LENGTH = 40


class RefundInline(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]
    model = Refund
    extra = 0
    fields = (
        *("payment_id", "amount", "reason", "requested_by"),
        *("requested_at", "refunded_at", "failed_at"),
    )
    readonly_fields = ("amount",)

    @admin.display
    def amount(self, refund: Refund) -> str:
        return money(refund.amount_cents, refund.currency)


@admin.register(Order)
class OrderAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("id", "status", "ticket", "price", "buyer_id", "created_at", "expires_at")
    list_filter = ("status", "cancel_reason", "created_at")
    search_fields = ("ticket_title", "=ticket_id", "=buyer_id", "=seller_id", "=payment_id")
    search_help_text = "An id (order, ticket, buyer, seller or payment), or words of the title."
    date_hierarchy = "created_at"
    ordering = ("-created_at", "-id")
    inlines = (RefundInline,)
    change_form_template = "admin/orders/order/change_form.html"
    fieldsets = (
        (None, {"fields": ("id", "status", "version", "buyer_id")}),
        (
            "Ticket, as it was reserved",
            {"fields": ("ticket_title", "ticket_id", "ticket_version", "seller_id", "price")},
        ),
        (
            "Times",
            {
                "fields": (
                    *("created_at", "expires_at", "expired_at", "completed_at", "used_at"),
                    "cancelled_at",
                )
            },
        ),
        (
            "Payment",
            {
                "fields": (
                    "payment_id",
                    "cancel_reason",
                    "open_payment_id",
                    "payment_failure",
                    "payment_closed_at",
                    "payment_version",
                )
            },
        ),
        ("Events", {"fields": ("published_events", "received_events")}),
    )
    readonly_fields = ("price", "published_events", "received_events")

    @admin.display(ordering="ticket_title")
    def ticket(self, order: Order) -> str:
        return Truncator(order.ticket_title).chars(TITLE_LENGTH)

    @admin.display(ordering="price_cents")
    def price(self, order: Order) -> str:
        return money(order.price_cents, order.currency)

    @admin.display(description="published")
    def published_events(self, order: Order) -> SafeString:
        events = OutboxEvent.objects.filter(aggregate_type="order", aggregate_id=str(order.pk))
        return _table(
            (event.version, event.type, event.occurred_at, event.state, _page_of(event))
            for event in events.order_by("version")
        )

    @admin.display(description="received")
    def received_events(self, order: Order) -> SafeString:
        events = ReceivedEvent.objects.filter(key=str(order.pk))
        return _table(
            (event.version, event.type, event.received_at, event.topic, _page_of(event))
            for event in events.order_by("received_at")
        )

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.timeline_view)
        return [
            path("<uuid:order_id>/timeline/", view, name="orders_order_timeline"),
            *super().get_urls(),
        ]

    def timeline_view(self, request: HttpRequest, order_id: uuid.UUID) -> HttpResponse:
        """Show everything that is known to have happened to an order, and why."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        order = Order.objects.filter(pk=order_id).first()
        if order is None:
            raise Http404
        entries = selectors.list_timeline(order=order)
        context = {
            **self.admin_site.each_context(request),
            "title": "What happened",
            "opts": self.opts,
            "order": order,
            "lines": tell_staff(entries, selectors.list_outbox_rows(order=order)),
            "traces": sorted({entry.trace_id for entry in entries if entry.trace_id}),
            "letters": selectors.list_dead_letters(order=order),
            "parked": selectors.list_parked(order=order),
        }
        return TemplateResponse(request, "admin/orders/order/timeline.html", context)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Order], search_term: str
    ) -> tuple[QuerySet[Order], bool]:
        # A key of PostgreSQL's own uuid type cannot be searched as text.
        if key := parse_order_id(search_term.strip()):
            text = str(key)
            found = Q(ticket_id=text) | Q(buyer_id=text) | Q(seller_id=text) | Q(payment_id=text)
            return queryset.filter(Q(pk=key) | found), False
        return super().get_search_results(request, queryset, search_term)


@admin.register(TicketCopy)
class TicketCopyAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("ticket_id", "title", "price", "version", "order_id", "is_withdrawn")
    list_filter = ("is_withdrawn",)
    search_fields = ("title", "=ticket_id", "=order_id", "=seller_id")

    @admin.display(ordering="price_cents")
    def price(self, copy: TicketCopy) -> str:
        return money(copy.price_cents, copy.currency)


def _page_of(event: OutboxEvent | ReceivedEvent) -> str:
    """Return the address of the event's own page, where it is decoded."""
    return reverse(f"admin:outbox_{event._meta.model_name}_change", args=(event.pk,))  # noqa: SLF001


def _table(rows: Iterable[tuple[int | None, str, datetime, str, str]]) -> SafeString:
    """Show events, one a line: version, type with its page, time, state or topic."""
    body = format_html_join(
        "",
        '<tr><td>{}</td><td><a href="{}">{}</a></td><td>{}</td><td>{}</td></tr>',
        (
            (version, address, type_, f"{at:%Y-%m-%d %H:%M:%S.%f} UTC", place)
            for version, type_, at, place, address in rows
        ),
    )
    head = format_html(
        "<tr><th>Version</th><th>Event</th><th>Time</th><th>{}</th></tr>", "State or topic"
    )
    return format_html("<table>{}{}</table>", head, body) if body else format_html("{}", "none")
