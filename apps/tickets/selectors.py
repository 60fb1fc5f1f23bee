"""Reads. Listings are aggregations, as only those walk an index in its order for certain."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any, Final, overload

from bson import ObjectId, Regex
from django.db import connection
from django_mongodb_backend.queryset import MongoQuerySet

from apps.core.errors import NotFound, NotSignedIn
from apps.tickets.models import WORD_INDEX, Ticket, search_terms

Match = dict[str, Any]
SEARCH_LENGTH: Final = 200
SEARCH_WORDS: Final = 8


class Sort(StrEnum):
    """The orders in which listings can be asked for."""

    OLDEST = "oldest"
    NEWEST = "newest"
    CHEAPEST = "cheapest"
    DEAREST = "dearest"


# The key makes each order total, so that no ticket is on two pages or on none.
_SORTS: Final[dict[Sort, dict[str, int]]] = {
    Sort.OLDEST: {"created_at": 1, "_id": 1},
    Sort.NEWEST: {"created_at": -1, "_id": -1},
    Sort.CHEAPEST: {"price_cents": 1, "_id": 1},
    Sort.DEAREST: {"price_cents": -1, "_id": -1},
}


class TicketNotFound(NotFound):
    """There is no such ticket, or its id is malformed."""

    code = "ticket_not_found"


class TicketListing(Sequence[Ticket]):
    """Tickets in an order, read only as far as asked for; django.core.paginator takes it.

    Args:
        match: which tickets.
        sort: their order.
        index: the index to find them by, where MongoDB cannot be trusted to choose it. It keeps
            the plan that suited the last search: one for a common word, walking all tickets by
            their age, would make the next search for a rare word read every one of them.
    """

    def __init__(self, match: Match, sort: Sort, *, index: str = "") -> None:
        self.match = match
        self.sort = sort
        self.hint = {"hint": index} if index else {}

    def __len__(self) -> int:
        return int(_tickets().count_documents(self.match, **self.hint, session=_session()))

    @overload
    def __getitem__(self, wanted: int) -> Ticket: ...

    @overload
    def __getitem__(self, wanted: slice) -> list[Ticket]: ...

    def __getitem__(self, wanted: int | slice) -> Ticket | list[Ticket]:
        """Read from the front; a listing has no end to count from without reading it."""
        if isinstance(wanted, int):
            return self[wanted : wanted + 1][0]
        start = wanted.start or 0
        if wanted.stop is not None and wanted.stop <= start:
            return []
        stages = self.pipeline()
        if start:
            stages.append({"$skip": start})
        if wanted.stop is not None:
            stages.append({"$limit": wanted.stop - start})
        if self.hint:
            found = _tickets().aggregate(
                [*stages, {"$project": {"_id": 1}}], **self.hint, session=_session()
            )
            ids = {"_id": {"$in": [ticket["_id"] for ticket in found]}}
            stages = TicketListing(ids, self.sort).pipeline()
        return list(MongoQuerySet(Ticket).raw_aggregate(stages))

    def __iter__(self) -> Iterator[Ticket]:
        return iter(self[:])

    def pipeline(self) -> list[dict[str, Any]]:
        return [{"$match": self.match}, {"$sort": _SORTS[self.sort]}]


def find_ticket(ticket_id: str) -> Ticket | None:
    """Return the ticket, or None if there is none or the id cannot be one."""
    if not ObjectId.is_valid(ticket_id):
        return None
    return Ticket.objects.filter(pk=ObjectId(ticket_id)).first()


def get_ticket(ticket_id: str) -> Ticket:
    """Return the ticket.

    Raises:
        TicketNotFound: there is none, or the id cannot be one.
    """
    if (ticket := find_ticket(ticket_id)) is None:
        raise TicketNotFound
    return ticket


def get_visible_ticket(ticket_id: str, *, viewer_id: str | None) -> Ticket:
    """Return the ticket as one may see it: a withdrawn one is its seller's alone.

    Raises:
        TicketNotFound: there is none to see.
    """
    ticket = get_ticket(ticket_id)
    if ticket.status == Ticket.Status.WITHDRAWN and ticket.seller_id != viewer_id:
        raise TicketNotFound
    return ticket


def get_own_ticket(ticket_id: str, *, seller_id: str) -> Ticket:
    """Return the ticket to the person who sells it.

    Raises:
        TicketNotFound: there is none.
        NotSignedIn: it is somebody else's.
    """
    ticket = get_ticket(ticket_id)
    if ticket.seller_id != seller_id:
        raise NotSignedIn
    return ticket


def get_unheld_ticket(ticket_id: str, *, seller_id: str, verb: str) -> Ticket:
    """Return the ticket to its seller while nobody holds it.

    Args:
        ticket_id: the ticket.
        seller_id: who asks.
        verb: what they want to do with it, for the refusal.

    Raises:
        TicketNotFound: there is none.
        NotSignedIn: it is somebody else's.
        TicketReserved: an order holds or bought it.
    """
    ticket = get_own_ticket(ticket_id, seller_id=seller_id)
    ticket.require_unheld(verb)
    return ticket


def list_free_tickets(*, search: str = "", sort: Sort = Sort.OLDEST) -> TicketListing:
    """Return the tickets that anybody may reserve.

    Args:
        search: words that the title must have, in any order, each at least by its beginning.
        sort: the order.
    """
    free: Match = {"status": Ticket.Status.FREE.value}
    if not search.strip():
        return TicketListing(free, sort)
    return TicketListing(free | _search(search), sort, index=WORD_INDEX)


def list_seller_tickets(seller_id: str) -> TicketListing:
    """Return all that somebody ever listed, newest first."""
    return TicketListing({"seller_id": seller_id}, Sort.NEWEST)


def list_tickets_matching(search: str) -> TicketListing:
    """Return the tickets of any status that an administrator may mean, newest first."""
    match: list[Match] = [{"seller_id": search}, {"order_id": search}]
    if ObjectId.is_valid(search):
        match.append({"_id": ObjectId(search)})
    match.append({"status": {"$in": Ticket.Status.values}} | _search(search))
    return TicketListing({"$or": match}, Sort.NEWEST)


def _search(text: str) -> Match:
    """Return the condition of a search: patterns that an index of words can answer.

    A pattern that is tied to the beginning of a word is a range of the index; one that may stand
    anywhere would read every title. Python's own patterns would do that, too: they carry a flag
    for Unicode, and with any such flag MongoDB makes no range of them.
    """
    # MongoDB walks the index for one word, the first, and checks the others on what that finds:
    # the longest is likely to be the rarest.
    words = sorted(search_terms(text[:SEARCH_LENGTH]), key=len, reverse=True)[:SEARCH_WORDS]
    if not words:
        return {"search_terms": {"$in": []}}
    return {"search_terms": {"$all": [Regex(f"^{re.escape(word)}") for word in words]}}


def _tickets() -> Any:  # noqa: ANN401 (the driver's collection)
    store: Any = connection
    return store.get_collection(Ticket._meta.db_table)  # noqa: SLF001 (documented)


def _session() -> Any:  # noqa: ANN401
    """Return the open transaction's session, without which a read would be outside of it."""
    store: Any = connection
    return store.session
