from __future__ import annotations

import uuid

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.core.errors import DomainError, NotFound, NotSignedIn
from apps.core.http import error_body
from apps.core.identity import principal_required
from apps.core.middleware import ContentSecurityPolicyMiddleware
from apps.payments import gateway, selectors, services
from apps.payments.metrics import note_refused
from apps.payments.models import Payment
from apps.payments.web.forms import ElementForm, PayForm, pay_form
from apps.payments.web.phase import tell_phase


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@principal_required
def pay_page(request: HttpRequest, order_id: str) -> HttpResponse:
    """Show how far the payment of an order is, and the form while it may be paid."""
    if request.method == "POST":
        return _pay(request, order_id)
    return _show(request, order_id, pay_form())


def _pay(request: HttpRequest, order_id: str) -> HttpResponse:
    form = pay_form(request.POST)
    if not gateway.takes_cards() or not form.is_valid():
        return _show(request, order_id, form, status=400)
    try:
        attempt = services.pay_order(
            order_id=order_id,
            buyer_id=_buyer_id(request),
            method=form.cleaned_data["card"],
            gateway=gateway.provider(),
        )
    except (NotFound, NotSignedIn) as refusal:
        # A stranger's page does not say that the order exists.
        raise Http404 from refusal
    except DomainError:
        # Declined, expired, paid in another tab: the page itself says so, also when reloaded.
        return redirect("payments:pay", order_id=order_id)
    if attempt.awaits_buyer:
        return redirect(attempt.action_url)
    return redirect(f"/orders/{order_id}/?confirming=1")


@never_cache
@require_safe
@principal_required
def return_page(request: HttpRequest, order_id: str) -> HttpResponse:
    """Take a buyer back from the bank, and show the order; what the address says is no proof."""
    try:
        services.notice_return(
            order_id=order_id,
            buyer_id=_buyer_id(request),
            intent_id=request.GET.get("payment_intent", ""),
            now=timezone.now(),
        )
    except (NotFound, NotSignedIn) as refusal:
        raise Http404 from refusal
    return redirect(f"/orders/{order_id}/?confirming=1")


@require_POST
@principal_required
def use_another_card(request: HttpRequest, order_id: str) -> HttpResponse:
    """Leave the bank's page aside, and offer the cards again."""
    try:
        services.use_another_card(
            order_id=order_id, buyer_id=_buyer_id(request), gateway=gateway.provider()
        )
    except (NotFound, NotSignedIn) as refusal:
        raise Http404 from refusal
    return redirect("payments:pay", order_id=order_id)


def _show(
    request: HttpRequest, order_id: str, form: PayForm | ElementForm, status: int = 200
) -> HttpResponse:
    payment = _find_own_payment(request, order_id)
    last = selectors.find_last_attempt(order_id=order_id)
    phase = tell_phase(payment, last, now=timezone.now())
    is_declined = last is not None and last.is_of_no_use
    response = render(
        request,
        "payments/pay.html",
        {
            "order_id": order_id,
            "payment": payment,
            "phase": phase,
            "last": last,
            "is_declined": is_declined,
            "form": form,
            "takes_cards": gateway.takes_cards(),
            "takes_test_cards": gateway.takes_test_cards(),
            "stripe_key": settings.STRIPE_PUBLISHABLE_KEY,
            "stripe_js": gateway.STRIPE_JS,
        },
        status=404 if payment is None else status,
    )
    if settings.STRIPE_PUBLISHABLE_KEY:
        policy = f"{ContentSecurityPolicyMiddleware.POLICY}; {gateway.STRIPE_SOURCES}"
        response["Content-Security-Policy"] = policy
    return response


def _find_own_payment(request: HttpRequest, order_id: str) -> Payment | None:
    """Return the buyer's payment; None for an order so new that payments has not heard of it.

    Raises:
        Http404: the order is another's, or this is no order's id.
    """
    try:
        return selectors.get_payment(order_id=order_id, buyer_id=_buyer_id(request))
    except NotSignedIn as refusal:
        raise Http404 from refusal
    except NotFound as refusal:
        if not _is_uuid(order_id):
            raise Http404 from refusal
        return None


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _buyer_id(request: HttpRequest) -> str:
    return str(request.principal.id)  # type: ignore[attr-defined]


@csrf_exempt
@require_POST
def webhook(request: HttpRequest) -> HttpResponse:
    """Keep what the provider tells and answer at once; the settler acts upon it.

    An outage of the database answers 503, so that the provider tells it again.
    """
    signature = request.headers.get("Stripe-Signature", "")
    try:
        message = gateway.read_webhook(request.body, signature)
    except gateway.WebhookRefused as refusal:
        note_refused(refusal.reason)
        return JsonResponse(error_body(refusal.message, refusal.error_code), status=400)
    is_new = services.store_webhook(webhook=message, now=timezone.now())
    return JsonResponse({"received": True, "duplicate": not is_new})
