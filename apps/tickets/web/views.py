"""The pages of tickets: each view translates, and makes one call."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Final

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from apps.core.errors import Conflict, NotFound, NotSignedIn
from apps.core.identity import Principal, principal_required, sign_in_address
from apps.tickets import selectors, services
from apps.tickets.web.forms import SearchForm, TicketForm

PAGE_SIZE: Final = 24

TicketPage = Callable[[HttpRequest, str], HttpResponseBase]


def explain_refusals(view: TicketPage) -> TicketPage:
    """Answer what a service refuses with a message on the ticket's page."""

    @wraps(view)
    def explained(request: HttpRequest, ticket_id: str) -> HttpResponseBase:
        try:
            return view(request, ticket_id)
        except NotFound as exc:
            raise Http404 from exc
        except NotSignedIn:
            messages.error(request, "Only its seller can change this ticket.")
        except Conflict as exc:
            messages.error(request, f"{exc.message}.")
        return redirect("tickets:show", ticket_id)

    return explained


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    form = SearchForm(request.GET)
    listing = selectors.list_free_tickets(search=form.words, sort=form.order)
    page = Paginator(listing, PAGE_SIZE).get_page(request.GET.get("page"))
    return render(
        request,
        "tickets/index.html",
        {"page_obj": page, "form": form, "words": form.words.strip(), "order": form.order},
    )


@require_safe
@principal_required
def mine(request: HttpRequest) -> HttpResponse:
    listing = selectors.list_seller_tickets(_person(request).id)
    page = Paginator(listing, PAGE_SIZE).get_page(request.GET.get("page"))
    return render(request, "tickets/mine.html", {"page_obj": page})


@require_safe
@explain_refusals
def show(request: HttpRequest, ticket_id: str) -> HttpResponse:
    ticket = selectors.get_ticket(ticket_id)
    person = _visitor(request)
    return render(
        request,
        "tickets/show.html",
        {
            "ticket": ticket,
            "is_seller": person is not None and person.id == ticket.seller_id,
            "sign_in_address": sign_in_address(request.path),
        },
    )


@principal_required
def new(request: HttpRequest) -> HttpResponse:
    form = TicketForm(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        return _form_page(request, "tickets/new.html", form)
    ticket = services.create_ticket(
        seller_id=_person(request).id,
        title=form.cleaned_data["title"],
        price_cents=form.cleaned_data["price"],
        now=timezone.now(),
    )
    messages.success(request, "Your ticket is listed. Anybody can reserve it from now on.")
    return redirect("tickets:show", ticket.pk)


@principal_required
@explain_refusals
def edit(request: HttpRequest, ticket_id: str) -> HttpResponse:
    if request.method != "POST":
        ticket = selectors.get_unheld_ticket(ticket_id, seller_id=_person(request).id, verb="edit")
        return _form_page(request, "tickets/edit.html", TicketForm.of(ticket))
    form = TicketForm(request.POST)
    if not form.is_valid():
        return _form_page(request, "tickets/edit.html", form)
    services.update_ticket(
        ticket_id=ticket_id,
        seller_id=_person(request).id,
        title=form.cleaned_data["title"],
        price_cents=form.cleaned_data["price"],
        now=timezone.now(),
    )
    messages.success(request, "Your changes are saved.")
    return redirect("tickets:show", ticket_id)


@principal_required
@explain_refusals
def withdraw(request: HttpRequest, ticket_id: str) -> HttpResponse:
    if request.method != "POST":
        ticket = selectors.get_unheld_ticket(
            ticket_id, seller_id=_person(request).id, verb="withdraw"
        )
        return render(request, "tickets/withdraw.html", {"ticket": ticket})
    services.withdraw_ticket(ticket_id=ticket_id, seller_id=_person(request).id, now=timezone.now())
    messages.success(request, "The ticket is withdrawn. You can list it again at any time.")
    return redirect("tickets:show", ticket_id)


@require_POST
@principal_required
@explain_refusals
def relist(request: HttpRequest, ticket_id: str) -> HttpResponse:
    services.relist_ticket(ticket_id=ticket_id, seller_id=_person(request).id, now=timezone.now())
    messages.success(request, "The ticket is for sale again.")
    return redirect("tickets:show", ticket_id)


def _form_page(request: HttpRequest, template: str, form: TicketForm) -> HttpResponse:
    return render(request, template, {"form": form}, status=400 if form.errors else 200)


def _visitor(request: HttpRequest) -> Principal | None:
    visitor: Principal | None = request.principal  # type: ignore[attr-defined]
    return visitor


def _person(request: HttpRequest) -> Principal:
    person: Principal = request.principal  # type: ignore[attr-defined]
    return person
