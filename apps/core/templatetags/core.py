"""Tags and filters of every service's pages: `{% load core %}`."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django import template
from django.core.paginator import Page
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

STATUS_LABELS = {
    "created": "Reserved, not paid",
    "awaiting_payment": "Payment under way",
    "complete": "Paid",
    "cancelled": "Cancelled",
    "free": "Available",
    "reserved": "Reserved",
    "sold": "Sold",
}
SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£"}


@register.filter
def money(cents: int | None, currency: str = "usd") -> str:
    """Return minor units as a price: 1250 as $12.50."""
    if cents is None:
        return ""
    amount = f"{Decimal(abs(cents)) / 100:,.2f}"
    sign = "-" if cents < 0 else ""
    symbol = SYMBOLS.get(currency.lower())
    return f"{sign}{symbol}{amount}" if symbol else f"{sign}{amount} {currency.upper()}"


@register.filter
def status_label(status: str) -> str:
    """Return a status in a person's words."""
    return STATUS_LABELS.get(status, status.replace("_", " ").capitalize())


@register.simple_tag(takes_context=True)
def here(context: dict[str, Any], address: str, *, exact: bool = False) -> SafeString | str:
    """Mark the link in the navigation that leads to this page."""
    request = context.get("request")
    path = request.path if request else ""
    found = path == address if exact else path.startswith(address)
    return format_html(' aria-current="{}"', "page") if found else ""


@register.simple_tag
def countdown(deadline: datetime) -> SafeString:
    """Show the deadline; site.js turns it into the time that is left."""
    instant = deadline.astimezone(UTC)
    return format_html(
        '<time class="countdown" datetime="{}" data-deadline="{}" data-now="{}">{}</time>',
        instant.isoformat(timespec="seconds"),
        int(instant.timestamp() * 1000),
        int(timezone.now().timestamp() * 1000),  # the visitor's own clock may be wrong
        f"until {instant:%H:%M:%S} UTC",
    )


@register.simple_tag(takes_context=True)
def page_link(context: dict[str, Any], number: int) -> str:
    """Return the address of another page of this list, with the search kept."""
    query = context["request"].GET.copy()
    query["page"] = str(number)
    return f"?{query.urlencode()}"


@register.filter
def nearby(page: Page[Any]) -> list[int | str]:
    """Return the page numbers to offer, with Paginator.ELLIPSIS for those left out."""
    return list(page.paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1))
