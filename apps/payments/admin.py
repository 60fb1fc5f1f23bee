from __future__ import annotations

from typing import Any

from django.contrib import admin

from apps.core.admin import ReadOnly
from apps.core.templatetags.core import money
from apps.payments.models import Payment, PaymentAttempt, StripeEvent


class Priced:
    @admin.display(ordering="amount_cents")
    def amount(self, row: Any) -> str:  # noqa: ANN401
        return money(row.amount_cents, row.currency)


@admin.register(Payment)
class PaymentAdmin(ReadOnly, Priced, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("order_id", "state", "amount", "ticket_title", "attempts", "created_at")
    list_filter = ("state", "closed_because", "created_at")
    search_fields = ("=order_id", "=buyer_id", "=ticket_id", "=paid_payment_id", "ticket_title")
    search_help_text = "An id (order, buyer, ticket or payment), or words of the title."
    ordering = ("-created_at",)


@admin.register(PaymentAttempt)
class PaymentAttemptAdmin(ReadOnly, Priced, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("id", "order_id", "attempt", "status", "amount", "failure_code", "started_at")
    list_filter = ("status", "failure_code", "started_at")
    search_fields = ("=order_id", "=buyer_id", "=intent_id", "=failure_code")
    search_help_text = "An id: order, buyer, payment intent (pi_…); a failure code."
    ordering = ("-started_at",)


@admin.register(StripeEvent)
class StripeEventAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("id", "type", "state", "intent_id", "payment_id", "received_at")
    list_filter = ("state", "type", "received_at")
    search_fields = ("=id", "=type", "=intent_id", "=payment_id")
    search_help_text = "An id: webhook (evt_…), payment intent (pi_…) or payment; a type."
    ordering = ("-received_at",)
