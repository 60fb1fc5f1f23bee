from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId
from django.core.paginator import Paginator
from django.db import connection

from apps.tickets import selectors, services
from apps.tickets.models import Ticket
from apps.tickets.selectors import Sort, TicketListing, TicketNotFound
from apps.tickets.tests.factories import NOON, list_ticket, new_id

pytestmark = pytest.mark.django_db(transaction=True)


def titles(listing: TicketListing) -> list[str]:
    return [ticket.title for ticket in listing]


def test_free_tickets_are_oldest_first_unless_asked_otherwise():
    list_ticket(title="middle", price_cents=300, now=NOON + timedelta(minutes=1))
    list_ticket(title="young", price_cents=100, now=NOON + timedelta(minutes=2))
    list_ticket(title="old", price_cents=200, now=NOON)

    assert titles(selectors.list_free_tickets()) == ["old", "middle", "young"]
    assert titles(selectors.list_free_tickets(sort=Sort.NEWEST)) == ["young", "middle", "old"]
    assert titles(selectors.list_free_tickets(sort=Sort.CHEAPEST)) == ["young", "old", "middle"]
    assert titles(selectors.list_free_tickets(sort=Sort.DEAREST)) == ["middle", "old", "young"]


def test_tickets_that_cannot_be_reserved_are_not_listed():
    seller_id = new_id()
    free, reserved, sold, withdrawn = (
        list_ticket(title=title, seller_id=seller_id, now=NOON + timedelta(seconds=age))
        for age, title in enumerate(("free", "reserved", "sold", "withdrawn"))
    )
    services.reserve_ticket(ticket_id=str(reserved.pk), order_id="a", now=NOON)
    services.sell_ticket(ticket_id=str(sold.pk), order_id="b", now=NOON)
    services.withdraw_ticket(ticket_id=str(withdrawn.pk), seller_id=seller_id, now=NOON)

    assert titles(selectors.list_free_tickets()) == ["free"]
    assert titles(selectors.list_seller_tickets(seller_id)) == [
        "withdrawn", "sold", "reserved", "free",
    ]  # fmt: skip
    assert free.is_free


def test_pages_of_tickets_listed_at_one_moment_overlap_nowhere():
    for number in range(25):
        list_ticket(title=f"Ticket {number}", now=NOON)
    pages = Paginator(selectors.list_free_tickets(), 10)

    seen = [ticket.pk for number in pages.page_range for ticket in pages.page(number)]

    assert (pages.count, pages.num_pages) == (25, 3)
    assert len(set(seen)) == 25


def test_page_beyond_the_last_is_empty():
    ticket = list_ticket()

    assert selectors.list_free_tickets()[0] == ticket

    assert selectors.list_free_tickets()[10**9 : 10**9 + 10] == []
    assert selectors.list_free_tickets()[5:5] == []


@pytest.mark.parametrize(
    "search", ["café", "CAFE", "caf", "zurich", "Züri", "zu ca", "42", "  café  ", "café, zürich!"]
)
def test_search_finds_words_by_their_beginning_whatever_their_case_and_accents(search):
    list_ticket(title="Café Zürich, row 42")
    list_ticket(title="Something else")

    assert titles(selectors.list_free_tickets(search=search)) == ["Café Zürich, row 42"]


@pytest.mark.parametrize(
    "search", ["afe", "cafe madrid", ".*", "caf|else", "$", "(", "[", "\\", "\x00", "é" * 50_000]
)
def test_search_takes_no_patterns_and_no_inner_parts_of_words(search):
    list_ticket(title="Café Zürich, row 42")

    assert titles(selectors.list_free_tickets(search=search)) == []


def test_blank_search_is_no_search():
    list_ticket(title="Café Zürich")

    assert len(selectors.list_free_tickets(search="  ")) == 1


@pytest.mark.parametrize("junk", ["junk", "", "0" * 23, "g" * 24, "\x00" * 12, "é" * 24, "1" * 500])
def test_malformed_id_is_an_unknown_one(junk):
    assert selectors.find_ticket(junk) is None
    with pytest.raises(TicketNotFound):
        selectors.get_ticket(junk)


def test_withdrawn_ticket_is_there_for_its_seller_alone():
    ticket = list_ticket()
    services.withdraw_ticket(ticket_id=str(ticket.pk), seller_id=ticket.seller_id, now=NOON)

    assert selectors.get_visible_ticket(str(ticket.pk), viewer_id=ticket.seller_id) == ticket
    for viewer_id in (None, new_id()):
        with pytest.raises(TicketNotFound):
            selectors.get_visible_ticket(str(ticket.pk), viewer_id=viewer_id)


def test_administrators_find_tickets_by_word_and_by_whole_ids():
    ticket = list_ticket(title="Nine Owls")
    services.reserve_ticket(ticket_id=str(ticket.pk), order_id="order-a", now=NOON)
    list_ticket(title="Something else")

    for search in ("owl", str(ticket.pk), ticket.seller_id, "order-a"):
        assert titles(selectors.list_tickets_matching(search)) == ["Nine Owls"]


LISTINGS = {
    "oldest": selectors.list_free_tickets,
    "newest": lambda: selectors.list_free_tickets(sort=Sort.NEWEST),
    "cheapest": lambda: selectors.list_free_tickets(sort=Sort.CHEAPEST),
    "dearest": lambda: selectors.list_free_tickets(sort=Sort.DEAREST),
    "seller's": lambda: selectors.list_seller_tickets("6751c1f0a9d4e5b2c3f4a5b6"),
}
SEARCHES = {
    "search": lambda: selectors.list_free_tickets(search="row owls"),
    "admin's search": lambda: selectors.list_tickets_matching("6751c1f0a9d4e5b2c3f4a5b6"),
}


@pytest.mark.parametrize("name", LISTINGS)
def test_listing_walks_an_index_in_its_order(name):
    plan = explain([*LISTINGS[name]().pipeline(), {"$skip": 24}, {"$limit": 24}])

    assert "IXSCAN" in plan
    assert "COLLSCAN" not in plan
    assert '"SORT"' not in plan


@pytest.mark.parametrize("name", SEARCHES)
def test_search_reads_an_index_and_no_whole_collection(name):
    listing = SEARCHES[name]()

    plan = explain([*listing.pipeline(), {"$limit": 24}], **listing.hint)

    assert "IXSCAN" in plan
    assert "COLLSCAN" not in plan


@pytest.mark.parametrize("name", SEARCHES)
def test_search_walks_the_part_of_the_index_with_its_longest_word(name):
    services.import_tickets(
        [
            services.Listing(
                ticket_id=new_id(),
                seller_id=new_id(),
                title=f"Row {number}",
                price_cents=100,
                listed_at=NOON,
            )
            for number in range(50)
        ]
    )

    listing = SEARCHES[name]()
    plan = explain([*listing.pipeline(), {"$limit": 24}], **listing.hint)

    word = {"search": "owls", "admin's search": "6751c1f0a9d4e5b2c3f4a5b6"}[name]
    assert f'[\\"{word}\\", ' in plan


def test_count_of_free_tickets_reads_the_index_alone():
    plan = explain(
        [{"$match": selectors.list_free_tickets().match}, {"$group": {"_id": 1, "n": {"$sum": 1}}}]
    )

    assert "COLLSCAN" not in plan
    assert "FETCH" not in plan


def test_ticket_is_found_by_its_key():
    plan = explain([{"$match": {"_id": ObjectId()}}])

    assert "IDHACK" in plan or "IXSCAN" in plan


def explain(pipeline: list[dict[str, Any]], **options: Any) -> str:
    """Return the winning plan as text."""
    answer = connection.database.command(
        "explain",
        {"aggregate": Ticket._meta.db_table, "pipeline": pipeline, "cursor": {}} | options,
        verbosity="queryPlanner",
    )
    planner = answer.get("queryPlanner") or answer["stages"][0]["$cursor"]["queryPlanner"]
    return json.dumps(planner["winningPlan"], default=str)
