"""What the code on a ticket leads to: its seller sees whether it is valid, and lets one in."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from apps.core.identity import Principal, principal_required
from apps.core.passes import read_pass
from apps.orders import selectors, services
from apps.orders.models import Order, TransitionRefused

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is to be said of a ticket.

    Args:
        badge: how the page is coloured, as a status is.
        label: the same in one word.
        heading: the answer, readable from an arm's length.
        words: what to do.
        status: of the response.
        shows_order: whether this person may see whose ticket it is.
    """

    badge: str
    label: str
    heading: str
    words: str
    status: HTTPStatus = HTTPStatus.OK
    shows_order: bool = True


VALID = Verdict(
    badge="complete",
    label="Valid",
    heading="The ticket is valid",
    words="It is paid and was not used. Let its bearer in, and mark it as used.",
)
ADMITTED = Verdict(
    badge="complete",
    label="Let in",
    heading="Let them in",
    words="The ticket was valid, and is marked as used now.",
)
USED = Verdict(
    badge="cancelled",
    label="Used",
    heading="This ticket was used before",
    words="Somebody went in with it. Who comes with it now has a copy.",
)
UNPAID = Verdict(
    badge="cancelled",
    label="Not valid",
    heading="This ticket is not paid",
    words="Do not let its bearer in.",
)
CANCELLED = Verdict(
    badge="cancelled",
    label="Not valid",
    heading="This order was cancelled",
    words="The ticket is not valid any more. Do not let its bearer in.",
)
REFUNDED = Verdict(
    badge="cancelled",
    label="Not valid",
    heading="This ticket was refunded",
    words="The money goes back, so the ticket is not valid any more. Do not let its bearer in.",
)
OWN = Verdict(
    badge="complete",
    label="Yours",
    heading="This is your ticket",
    words="The seller scans this code at the entrance. Show it to nobody else.",
)
ANOTHERS = Verdict(
    badge="cancelled",
    label="Not yours",
    heading="You do not sell this ticket",
    words="Only its seller sees whether it is valid. Sign in as the seller, and scan it again.",
    status=HTTPStatus.FORBIDDEN,
    shows_order=False,
)
FORGED = Verdict(
    badge="cancelled",
    label="Not valid",
    heading="This is no ticket of ours",
    words="Its code was not made here, or was damaged. Do not let its bearer in.",
    status=HTTPStatus.NOT_FOUND,
    shows_order=False,
)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@principal_required
def verify_pass(request: HttpRequest, token: str) -> HttpResponse:
    """Judge the pass; by POST, its seller lets the bearer in."""
    principal: Principal = request.principal  # type: ignore[attr-defined]
    claims = read_pass(token)
    order = None if claims is None else selectors.find_order_of_pass(claims=claims)
    may_admit = order is not None and (principal.is_staff or principal.id == order.seller_id)
    verdict = _judge(order, principal, may_admit=may_admit)
    if order is not None and request.method == "POST" and verdict is VALID:
        try:
            services.admit_bearer(order_id=str(order.pk), now=timezone.now())
            verdict = ADMITTED
        except TransitionRefused:  # at the same moment, by another phone
            order.refresh_from_db()
            verdict = _judge(order, principal, may_admit=may_admit)
    return render(
        request,
        "orders/verify.html",
        {
            "order": order if verdict.shows_order else None,
            "verdict": verdict,
            "may_use": verdict is VALID,
        },
        status=verdict.status,
    )


def _judge(order: Order | None, principal: Principal, *, may_admit: bool) -> Verdict:
    if order is None:
        return FORGED
    if not may_admit:
        return OWN if principal.id == order.buyer_id else ANOTHERS
    if order.is_cancelled:
        return REFUNDED if order.payment_id else CANCELLED
    if not order.is_complete:
        return UNPAID
    return USED if order.used_at else VALID
