from __future__ import annotations

import re
from typing import TYPE_CHECKING

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache

from apps.core.errors import Conflict, NotFound, NotSignedIn
from apps.core.identity import Principal, principal_required
from apps.orders import selectors, services
from apps.orders.web.forms import ReserveForm
from apps.orders.web.phase import is_settled, tell_phase
from apps.orders.web.timeline import tell_buyer

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

PAGE_SIZE = 20
VERSION = re.compile(r"[0-9]{1,18}")
NO_SUCH_TICKET = (
    "This ticket cannot be reserved: it was withdrawn, or it was listed only a moment ago. "
    "If it is new, please try again in a few seconds."
)
RESERVED_MEANWHILE = "Somebody else was quicker: this ticket has been reserved meanwhile."
YOURS_ALREADY = "You have reserved this ticket already. Here is your order."
RESERVED = "The ticket is reserved for you."
CANCELLED = "Your order is cancelled, and the ticket is free again."
GIVEN_BACK = "You gave the ticket back. Your money is on its way to you."


@never_cache
@principal_required
def order_list(request: HttpRequest) -> HttpResponse:
    now = timezone.now()
    orders = selectors.list_newest_orders(buyer_id=_buyer_id(request))
    page = Paginator(orders, PAGE_SIZE).get_page(request.GET.get("page"))
    rows = [(order, tell_phase(order, now=now)) for order in page.object_list]
    return render(request, "orders/list.html", {"page_obj": page, "rows": rows})


@never_cache
@principal_required
def order_page(request: HttpRequest, order_id: str) -> HttpResponse:
    """Show one order. With ?confirming=1 the buyer comes from paying; it then tells the outcome."""
    try:
        order = selectors.get_order(order_id=order_id, buyer_id=_buyer_id(request))
    except (NotFound, NotSignedIn) as refusal:
        # A stranger's page does not say that the order exists.
        raise Http404 from refusal
    since = _confirming_since(request, order.payment_version)
    now = timezone.now()
    phase = tell_phase(order, now=now, confirming_since=since)
    refunds = selectors.list_refunds(order=order)
    confirming = "" if since is None else f"?confirming=1&since={since}"
    return render(
        request,
        "orders/order.html",
        {
            "order": order,
            "phase": phase,
            "refunds": refunds,
            "returnable_until": selectors.find_returnable_until(order=order, now=now),
            "is_settled": is_settled(order, refunds),
            "refresh_url": f"{request.path}{confirming}",
            "came_from_paying": since is not None,
            "steps": tell_buyer(selectors.list_timeline(order=order)),
        },
    )


@principal_required
def reserve(request: HttpRequest) -> HttpResponse:
    """Reserve the ticket of a ticket page, and go on to the order or back to the ticket."""
    if request.method != "POST":
        return redirect("/")
    form = ReserveForm(request.POST)
    if not form.is_valid():
        messages.error(request, NO_SUCH_TICKET)
        return redirect("/")
    ticket_id = form.cleaned_data["ticket_id"]
    try:
        order = services.create_order(
            ticket_id=ticket_id, buyer_id=_buyer_id(request), now=timezone.now()
        )
    except services.TicketNotFound:
        messages.error(request, NO_SUCH_TICKET)
    except services.TicketAlreadyReserved as refusal:
        if refusal.own_order_id:
            messages.info(request, YOURS_ALREADY)
            return redirect("orders:order", order_id=refusal.own_order_id)
        messages.error(request, RESERVED_MEANWHILE)
    else:
        messages.success(request, RESERVED)
        return redirect("orders:order", order_id=order.pk)
    return HttpResponseRedirect(f"/tickets/{ticket_id}/")


@principal_required
def cancel(request: HttpRequest, order_id: str) -> HttpResponse:
    if request.method == "POST":
        try:
            order = services.cancel_order(
                order_id=order_id, buyer_id=_buyer_id(request), now=timezone.now()
            )
        except (NotFound, NotSignedIn) as refusal:
            raise Http404 from refusal
        except Conflict as refusal:
            messages.error(request, f"{refusal.message}.")
        else:
            messages.success(request, GIVEN_BACK if order.was_returned else CANCELLED)
    return redirect("orders:order", order_id=order_id)


def _buyer_id(request: HttpRequest) -> str:
    principal: Principal = request.principal  # type: ignore[attr-defined]
    return principal.id


def _confirming_since(request: HttpRequest, payment_version: int) -> int | None:
    """Return the payment's version when the buyer came from paying; None when they did not."""
    if "confirming" not in request.GET:
        return None
    since = request.GET.get("since", "")
    return int(since) if VERSION.fullmatch(since) else payment_version
