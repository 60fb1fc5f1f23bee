from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

import uuid6
from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from apps.core.admin import ReadOnly
from apps.core.errors import DomainError
from apps.core.templatetags.core import money
from apps.payments import services
from apps.payments.models import (
    Dispute,
    LedgerTransaction,
    Payment,
    PaymentAttempt,
    Refund,
    StripeEvent,
)

CENTS = 100


class RefundForm(forms.Form):
    """How much goes back, and why; asked for once, however often its button is pressed.

    Args:
        attempt: what was paid.
    """

    amount = forms.DecimalField(min_value=Decimal("0.01"), max_digits=14, decimal_places=2)
    reason = forms.CharField(
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 60}),
        help_text="The buyer reads this.",
    )
    refund_id = forms.UUIDField(widget=forms.HiddenInput)

    def __init__(self, data: QueryDict | None, *, attempt: PaymentAttempt) -> None:
        left = Decimal(attempt.refundable_cents) / CENTS
        super().__init__(data, initial={"amount": left, "refund_id": uuid6.uuid7()})
        self._attempt = attempt

    def clean_amount(self) -> Decimal:
        amount: Decimal = self.cleaned_data["amount"]
        if amount * CENTS > self._attempt.refundable_cents:
            left = money(self._attempt.refundable_cents, self._attempt.currency)
            raise forms.ValidationError(f"At most {left} is left to give.")
        return amount

    def was_requested(self) -> bool:
        """Say whether this very form was sent before, successfully."""
        try:
            refund_id = uuid.UUID(self.data.get("refund_id", ""))
        except ValueError:
            return False
        return Refund.objects.filter(pk=refund_id).exists()

    @property
    def amount_cents(self) -> int:
        return int(self.cleaned_data["amount"] * CENTS)


class Priced:
    @admin.display(ordering="amount_cents")
    def amount(self, row: Any) -> str:  # noqa: ANN401
        return money(row.amount_cents, row.currency)


@admin.register(Payment)
class PaymentAdmin(ReadOnly, Priced, admin.ModelAdmin):  # type: ignore[type-arg]
    class Media:
        css: ClassVar = {"all": ("payments/admin.css",)}

    list_display = ("order_id", "state", "amount", "ticket_title", "attempts", "created_at")
    list_filter = ("state", "closed_because", "created_at")
    search_fields = ("=order_id", "=buyer_id", "=ticket_id", "=paid_payment_id", "ticket_title")
    search_help_text = "An id (order, buyer, ticket or payment), or words of the title."
    ordering = ("-created_at",)
    change_form_template = "admin/payments/payment/change_form.html"
    fieldsets = (
        (None, {"fields": ("order_id", "state", "amount", "ticket_title")}),
        ("Money", {"fields": ("all_attempts", "all_refunds", "all_disputes", "all_movements")}),
        ("Who and what", {"fields": ("buyer_id", "ticket_id", "expires_at", "closed_because")}),
        (
            "How far",
            {"fields": ("version", "active_payment_id", "paid_payment_id", "created_at")},
        ),
    )
    readonly_fields = ("amount", "all_attempts", "all_refunds", "all_disputes", "all_movements")

    @admin.display(description="attempts")
    def all_attempts(self, payment: Payment) -> SafeString:
        attempts = PaymentAttempt.objects.filter(order_id=payment.pk).order_by("attempt")
        return _table(
            ("Attempt", "Status", "Amount", "Went back", "Intent", "Began"),
            [
                (
                    _link(attempt, str(attempt.attempt)),
                    attempt.get_status_display(),
                    money(attempt.amount_cents, attempt.currency),
                    money(attempt.refunded_cents, attempt.currency),
                    attempt.intent_id,
                    _time(attempt.started_at),
                )
                for attempt in attempts
            ],
        )

    @admin.display(description="refunds")
    def all_refunds(self, payment: Payment) -> SafeString:
        refunds = Refund.objects.filter(order_id=payment.pk).order_by("requested_at")
        return _table(
            ("Requested", "State", "Amount", "By", "Reason", "Note"),
            [
                (
                    _link(refund, _time(refund.requested_at)),
                    refund.get_state_display(),
                    money(refund.amount_cents, refund.currency),
                    refund.requested_by,
                    refund.reason,
                    refund.last_error,
                )
                for refund in refunds
            ],
        )

    @admin.display(description="disputes")
    def all_disputes(self, payment: Payment) -> SafeString:
        disputes = Dispute.objects.filter(order_id=payment.pk).order_by("opened_at")
        return _table(
            ("Dispute", "Status", "Amount", "Reason", "Opened"),
            [
                (
                    _link(dispute, dispute.pk),
                    dispute.status.replace("_", " "),
                    money(dispute.amount_cents, dispute.currency),
                    dispute.reason,
                    _time(dispute.opened_at),
                )
                for dispute in disputes
            ],
        )

    @admin.display(description="ledger")
    def all_movements(self, payment: Payment) -> SafeString:
        entries = LedgerTransaction.objects.filter(order_id=payment.pk).order_by("occurred_at")
        return _table(
            ("Time", "Movement", *_ACCOUNTS),
            [
                (
                    _time(entry.occurred_at),
                    _link(entry, entry.get_kind_display()),
                    *_by_account(_sums(entry), entry.currency),
                )
                for entry in entries
            ],
        )

    def has_refund_permission(self, request: HttpRequest) -> bool:
        """Say whether the person may give money back."""
        return request.user.has_perm("payments.add_refund")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.refund_view)
        route = path("refund/<uuid:payment_id>/", view, name="payments_payment_refund")
        return [route, *super().get_urls()]

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        *args: Any,  # noqa: ANN401
        **kwargs: Any,  # noqa: ANN401
    ) -> HttpResponse:
        payment: Payment | None = kwargs.get("obj")
        if payment is not None and self.has_refund_permission(request):
            attempts = PaymentAttempt.objects.filter(order_id=payment.pk).order_by("attempt")
            context["refundable"] = [each for each in attempts if each.refundable_cents]
        return super().render_change_form(request, context, *args, **kwargs)

    def refund_view(self, request: HttpRequest, payment_id: uuid.UUID) -> HttpResponse:
        """Ask how much and why, say what follows, and request the refund once confirmed."""
        if not self.has_refund_permission(request):
            raise PermissionDenied
        attempt = PaymentAttempt.objects.filter(pk=payment_id).first()
        if attempt is None:
            raise Http404
        form = RefundForm(request.POST or None, attempt=attempt)
        back = reverse("admin:payments_payment_change", args=(attempt.order_id,))
        is_confirmed = "confirmed" in request.POST
        if is_confirmed and form.was_requested():
            return HttpResponseRedirect(back)  # the button was pressed twice
        is_valid = request.method == "POST" and form.is_valid()
        if is_valid and is_confirmed and self._refund(request, attempt, form):
            return HttpResponseRedirect(back)
        context = {
            **self.admin_site.each_context(request),
            "title": "Give money back",
            "opts": self.opts,
            "attempt": attempt,
            "form": form,
            "back": back,
            "cents": form.amount_cents if is_valid else None,
            "is_all": is_valid and form.amount_cents == attempt.unpromised_cents,
            "to_confirm": is_valid and not form.errors and "change" not in request.POST,
        }
        return TemplateResponse(request, "admin/payments/payment/refund.html", context)

    def _refund(self, request: HttpRequest, attempt: PaymentAttempt, form: RefundForm) -> bool:
        email = getattr(request.user, "email", "")
        try:
            services.request_refund(
                payment_id=str(attempt.pk),
                reason=form.cleaned_data["reason"],
                requested_by=f"{Refund.STAFF}{email}",
                amount_cents=form.amount_cents,
                refund_id=str(form.cleaned_data["refund_id"]),
                now=timezone.now(),
            )
        except DomainError as refusal:
            form.add_error("amount", refusal.message)
            return False
        payment = Payment.objects.get(pk=attempt.order_id)
        words = f"{money(form.amount_cents, attempt.currency)} goes back to the buyer"
        self.log_change(request, payment, f"{words}: {form.cleaned_data['reason']}")
        self.message_user(request, f"{words}. The provider is being asked.", messages.SUCCESS)
        return True


@admin.register(PaymentAttempt)
class PaymentAttemptAdmin(ReadOnly, Priced, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("id", "order_id", "attempt", "status", "amount", "failure_code", "started_at")
    list_filter = ("status", "failure_code", "started_at")
    search_fields = ("=order_id", "=buyer_id", "=intent_id", "=failure_code")
    search_help_text = "An id: order, buyer, payment intent (pi_…); a failure code."
    ordering = ("-started_at",)


@admin.register(Refund)
class RefundAdmin(ReadOnly, Priced, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("requested_at", "state", "amount", "requested_by", "order_id", "last_error")
    list_filter = ("state", "requested_at")
    search_fields = ("=order_id", "=payment_id", "=provider_refund_id", "=requested_by")
    search_help_text = "An id: order, payment, refund (re_…); or who asked (staff:<e-mail>)."
    ordering = ("-requested_at",)


@admin.register(Dispute)
class DisputeAdmin(ReadOnly, Priced, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("id", "status", "amount", "reason", "order_id", "evidence_due_at", "opened_at")
    list_filter = ("status", "reason", "opened_at")
    search_fields = ("=id", "=order_id", "=payment_id")
    search_help_text = "An id: dispute (dp_…), order or payment."
    ordering = ("-opened_at",)


@admin.register(LedgerTransaction)
class LedgerTransactionAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("occurred_at", "kind", "movement", "order_id", "reference")
    list_filter = ("kind", "currency", "occurred_at")
    search_fields = ("=order_id", "=payment_id", "=reference")
    search_help_text = "An id: order or payment; or a reference (refund:<id>)."
    ordering = ("-occurred_at",)
    fields = ("reference", "kind", "movement", "order_id", "payment_id", "occurred_at")
    readonly_fields = ("movement",)
    change_list_template = "admin/payments/ledgertransaction/change_list.html"

    @admin.display(description="accounts")
    def movement(self, entry: LedgerTransaction) -> SafeString:
        names = dict(LedgerTransaction.Account.choices)
        return format_html_join(
            ", ",
            "{} {}",
            (
                (names[line["account"]], _signed(line["cents"], entry.currency))
                for line in entry.lines
            ),
        )

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.check_view)
        return [path("check/", view, name="payments_ledgertransaction_check"), *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        rows = [
            (currency.upper(), *_by_account(sums, currency))
            for currency, sums in sorted(services.total_by_account().items())
        ]
        context = {"totals": _table(("Currency", *_ACCOUNTS), rows)}
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def check_view(self, request: HttpRequest) -> HttpResponse:
        """Hold the ledger against the payments, refunds and disputes that it records."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": "Check the ledger",
            "opts": self.opts,
            "differences": services.check_ledger(),
        }
        return TemplateResponse(request, "admin/payments/ledgertransaction/check.html", context)


@admin.register(StripeEvent)
class StripeEventAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("id", "type", "state", "intent_id", "payment_id", "received_at")
    list_filter = ("state", "type", "received_at")
    search_fields = ("=id", "=type", "=intent_id", "=payment_id")
    search_help_text = "An id: webhook (evt_…), payment intent (pi_…) or payment; a type."
    ordering = ("-received_at",)


_ACCOUNTS = tuple(label.capitalize() for label in LedgerTransaction.Account.labels)


def _sums(entry: LedgerTransaction) -> dict[str, int]:
    return {line["account"]: line["cents"] for line in entry.lines}


def _by_account(cents: Mapping[str, int], currency: str) -> list[str]:
    accounts = LedgerTransaction.Account.values
    return [_signed(cents[name], currency) if cents.get(name) else "" for name in accounts]


def _signed(cents: int, currency: str) -> str:
    return f"{'+' if cents > 0 else ''}{money(cents, currency)}"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _link(row: Model, words: str) -> SafeString:
    address = reverse(f"admin:payments_{row._meta.model_name}_change", args=(row.pk,))  # noqa: SLF001
    return format_html('<a href="{}">{}</a>', address, words)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> SafeString:
    body = format_html_join(
        "",
        "<tr>{}</tr>",
        ((format_html_join("", "<td>{}</td>", ((cell,) for cell in row)),) for row in rows),
    )
    if not body:
        return format_html("{}", "none")
    cells = format_html_join("", "<th>{}</th>", ((title,) for title in head))
    return format_html('<div class="money-table"><table><tr>{}</tr>{}</table></div>', cells, body)
