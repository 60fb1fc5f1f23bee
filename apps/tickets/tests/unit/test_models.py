from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.errors import Invalid
from apps.tickets.models import (
    Ticket,
    TicketListed,
    TicketReserved,
    TicketSold,
    TicketWithdrawn,
    clean_title,
    parse_price,
    search_terms,
)
from apps.tickets.tests.factories import NOON, build_ticket

LATER = NOON + timedelta(hours=1)


@pytest.mark.parametrize(
    ("given_price", "cents"),
    [
        (20, 2000),
        (12.5, 1250),
        (19.99, 1999),
        (0.50, 50),
        (100_000, 10_000_000),
        (Decimal("7.10"), 710),
        ("12.50", 1250),
        (" 8 ", 800),
        ("+3.", 300),
        (".5", 50),
        ("12.5000", 1250),
    ],
)
def test_price_is_read_from_numbers_and_numeric_text(given_price, cents):
    assert parse_price(given_price) == cents


@pytest.mark.parametrize(
    "nonsense",
    [
        0, -1, -0.01, "0", "-5", "", " ", "abc", "12,50", "1e3", "0x10", "NaN", "Infinity", "١٢",
        "1 2", "--1", ".", "9" * 5000, None, True, False, [], [1], {}, b"1",
        math.nan, math.inf, -math.inf, Decimal("NaN"),
    ],
)  # fmt: skip
def test_price_that_is_no_number_above_zero_is_refused(nonsense):
    with pytest.raises(Invalid) as refusal:
        parse_price(nonsense)

    assert refusal.value.message == "Price must be greater than 0"
    assert refusal.value.field == "price"


@pytest.mark.parametrize("fine", [0.001, 12.505, "12.505", 1e-9, 1e-320, "0.0000001", 0.1 + 0.2])
def test_price_finer_than_a_cent_is_refused(fine):
    with pytest.raises(Invalid) as refusal:
        parse_price(fine)

    assert refusal.value.error_code == "price_too_fine"


@pytest.mark.parametrize("small", [0.49, 0.01, "0.01", ".49", Decimal("0.4900")])
def test_price_below_what_a_card_can_be_charged_is_refused(small):
    with pytest.raises(Invalid) as refusal:
        parse_price(small)

    assert refusal.value.message == "Price must be at least 0.50: cards cannot be charged less"
    assert (refusal.value.error_code, refusal.value.field) == ("price_too_small", "price")


@pytest.mark.parametrize("absurd", [100_000.01, "100000.01", 1e300, 10**400, "9999999999999999"])
def test_absurdly_high_price_is_refused(absurd):
    with pytest.raises(Invalid) as refusal:
        parse_price(absurd)

    assert refusal.value.message == "Price must be at most 100,000"


@given(st.integers(min_value=50, max_value=10_000_000))
def test_every_price_survives_the_way_through_json(cents):
    assert parse_price(cents / 100) == cents
    assert parse_price(f"{cents // 100}.{cents % 100:02}") == cents


@given(st.one_of(st.text(), st.floats(), st.integers(), st.lists(st.integers()), st.booleans()))
def test_no_price_whatever_does_more_than_be_refused(anything):
    try:
        cents = parse_price(anything)
    except Invalid:
        return
    assert 50 <= cents <= 10_000_000


def test_title_loses_the_white_space_around_it():
    assert clean_title("  \u00a0Half a Lighthouse \n") == "Half a Lighthouse"


@pytest.mark.parametrize("blank", ["", " ", "\n\t", "\u200b\u200d", "\u2028", "\x00"])
def test_title_with_nothing_to_see_is_refused(blank):
    with pytest.raises(Invalid) as refusal:
        clean_title(blank)

    assert refusal.value.message == "Title is required"


@pytest.mark.parametrize(
    "mark", ["\x00", "\n", "\t", "\x1b", "\x7f", "\x85", "\ud800", "\u2028", "\u202e", "\u2066"]
)
def test_title_with_control_characters_is_refused(mark):
    with pytest.raises(Invalid) as refusal:
        clean_title(f"Row {mark} C")

    assert refusal.value.error_code == "title_has_control_characters"


def test_title_of_200_characters_is_the_longest():
    assert clean_title("x" * 200) == "x" * 200
    with pytest.raises(Invalid) as refusal:
        clean_title("x" * 201)
    assert refusal.value.error_code == "title_too_long"


@pytest.mark.parametrize(
    "title", ["<script>alert(1)</script>", "مرحبا", "👩‍👩‍👧 family ticket", "東京"]
)
def test_title_keeps_html_and_every_script_as_text(title):
    assert clean_title(title) == title


@given(st.text(st.characters(codec=None)))
def test_every_title_that_is_taken_fits_into_utf_8(text):
    try:
        title = clean_title(text)
    except Invalid:
        return
    assert title.encode()


def test_search_terms_are_words_without_case_and_accents():
    assert search_terms("Émile & the Émile-Trio: STRASSE_42, Straße") == [
        "emile", "the", "trio", "strasse", "42",
    ]  # fmt: skip


def test_edit_changes_title_price_and_the_words_it_is_found_by():
    ticket = build_ticket()

    ticket.edit(title=" Nine Owls ", price_cents=1999, at=LATER)

    assert (ticket.title, ticket.price_cents, ticket.search_terms, ticket.updated_at) == (
        "Nine Owls", 1999, ["nine", "owls"], LATER,
    )  # fmt: skip


@pytest.mark.parametrize("price_cents", [0, -1, 10_000_001])
def test_price_is_checked_however_it_comes(price_cents):
    with pytest.raises(Invalid):
        build_ticket().edit(title="Nine Owls", price_cents=price_cents, at=LATER)


def test_reserved_ticket_cannot_be_edited():
    ticket = build_ticket()
    ticket.reserve("order-a", at=NOON)

    with pytest.raises(TicketReserved, match="Cannot edit a reserved ticket"):
        ticket.edit(title="Nine Owls", price_cents=1999, at=LATER)


def test_reserved_ticket_cannot_be_withdrawn_or_listed():
    ticket = build_ticket()
    ticket.reserve("order-a", at=NOON)

    with pytest.raises(TicketReserved, match="Cannot withdraw a reserved ticket"):
        ticket.withdraw(at=LATER)
    with pytest.raises(TicketReserved, match="Cannot list a reserved ticket"):
        ticket.relist(at=LATER)


def test_withdrawn_ticket_can_be_listed_again_and_neither_twice():
    ticket = build_ticket()

    ticket.withdraw(at=LATER)
    assert ticket.status == Ticket.Status.WITHDRAWN
    with pytest.raises(TicketWithdrawn):
        ticket.withdraw(at=LATER)

    ticket.relist(at=LATER)
    assert ticket.is_free
    with pytest.raises(TicketListed):
        ticket.relist(at=LATER)


def test_hold_shows_its_order_until_it_ends():
    ticket = build_ticket()

    assert ticket.reserve("order-a", at=LATER)
    assert (ticket.status, ticket.order_id) == (Ticket.Status.RESERVED, "order-a")

    assert ticket.release("order-a", at=LATER)
    assert (ticket.status, ticket.order_id) == (Ticket.Status.FREE, None)


def test_same_hold_twice_changes_nothing():
    ticket = build_ticket()
    ticket.reserve("order-a", at=NOON)

    assert not ticket.reserve("order-a", at=LATER)
    assert (ticket.holds, ticket.updated_at) == (["order-a"], NOON)


def test_hold_that_crosses_a_withdrawal_wins_until_it_ends():
    ticket = build_ticket()
    ticket.withdraw(at=NOON)

    ticket.reserve("order-a", at=LATER)
    assert ticket.status == Ticket.Status.RESERVED

    ticket.release("order-a", at=LATER)
    assert ticket.status == Ticket.Status.WITHDRAWN


def test_stale_cancel_frees_nobody_elses_hold():
    ticket = build_ticket()
    ticket.reserve("order-a", at=NOON)
    ticket.release("order-a", at=NOON)
    ticket.reserve("order-b", at=NOON)

    assert not ticket.release("order-a", at=LATER)
    assert (ticket.status, ticket.order_id) == (Ticket.Status.RESERVED, "order-b")


def test_new_hold_heard_of_before_the_end_of_the_old_one_stays():
    ticket = build_ticket()
    ticket.reserve("order-a", at=NOON)

    ticket.reserve("order-b", at=LATER)
    ticket.release("order-a", at=LATER)

    assert (ticket.status, ticket.order_id) == (Ticket.Status.RESERVED, "order-b")


def test_order_whose_end_was_heard_of_first_never_holds_the_ticket():
    ticket = build_ticket()

    assert not ticket.release("order-a", at=NOON)
    assert ticket.forget("order-a")
    assert not ticket.forget("order-a")

    assert not ticket.reserve("order-a", at=LATER)
    assert ticket.is_free


@pytest.mark.parametrize("holder", ["order-a", "order-b", None])
def test_paid_order_has_the_ticket_whoever_seemed_to_hold_it(holder):
    ticket = build_ticket()
    if holder:
        ticket.reserve(holder, at=NOON)

    assert ticket.sell("order-a", at=LATER)

    assert ticket.is_sold
    assert ticket.order_id == "order-a"


def test_sold_ticket_stays_sold_whatever_comes_late():
    ticket = build_ticket()
    ticket.sell("order-a", at=NOON)

    assert not ticket.sell("order-a", at=LATER)
    ticket.reserve("order-b", at=LATER)
    assert not ticket.release("order-a", at=LATER)
    assert not ticket.forget("order-a")
    ticket.release("order-b", at=LATER)

    assert (ticket.status, ticket.order_id) == (Ticket.Status.SOLD, "order-a")


def test_ticket_that_was_given_back_is_free_for_good():
    """Whatever comes late of the order that gave it back."""
    ticket = build_ticket()
    ticket.sell("order-a", at=NOON)

    assert ticket.take_back("order-a", at=LATER)
    assert not ticket.sell("order-a", at=LATER)
    assert not ticket.reserve("order-a", at=LATER)
    assert not ticket.forget("order-a")

    assert ticket.is_free
    assert ticket.sell("order-b", at=LATER)


def test_ticket_that_was_given_back_before_its_sale_was_heard_of_is_free():
    ticket = build_ticket()
    ticket.reserve("order-a", at=NOON)

    assert ticket.take_back("order-a", at=LATER)
    assert not ticket.sell("order-a", at=LATER)

    assert ticket.is_free


def test_only_the_order_that_has_the_ticket_gives_it_back():
    ticket = build_ticket()
    ticket.sell("order-a", at=NOON)

    assert not ticket.take_back("order-b", at=LATER)

    assert (ticket.status, ticket.order_id) == (Ticket.Status.SOLD, "order-a")


def test_hold_of_the_next_buyer_waits_behind_a_sale_that_is_being_undone():
    ticket = build_ticket()
    ticket.sell("order-a", at=NOON)

    ticket.reserve("order-b", at=LATER)
    assert (ticket.status, ticket.order_id) == (Ticket.Status.SOLD, "order-a")
    ticket.take_back("order-a", at=LATER)

    assert (ticket.status, ticket.order_id) == (Ticket.Status.RESERVED, "order-b")


def test_ticket_cannot_be_sold_twice():
    ticket = build_ticket()
    ticket.sell("order-a", at=NOON)

    with pytest.raises(TicketSold, match="was sold to order order-a"):
        ticket.sell("order-b", at=LATER)


@given(st.data())
def test_holds_are_the_same_however_the_events_of_two_partitions_interleave(data):
    """Orders allows one claim at a time; each order's own events keep their sequence."""
    ended = data.draw(st.integers(min_value=0, max_value=4))
    orders = [f"order-{number}" for number in range(ended + 1)]
    last = data.draw(st.sampled_from(["holds", "ended", "paid"]))
    ways = [["reserve", "release"], ["reserve", "sell", "take_back"]]
    lanes = [list(data.draw(st.sampled_from(ways))) for _ in range(ended)]
    lanes.append(
        {"holds": ["reserve"], "ended": ["reserve", "release"], "paid": ["reserve", "sell"]}[last]
    )
    ticket = build_ticket()

    refused: set[int] = set()
    while any(lanes):
        waiting = [n for n, events in enumerate(lanes) if events]
        lane = data.draw(st.sampled_from([n for n in waiting if n not in refused] or waiting))
        try:
            getattr(ticket, lanes[lane][0])(orders[lane], at=NOON)
        except TicketSold:
            # It is tried again after others; a sale that was undone since ends as a dead letter.
            if refused.issuperset(waiting):
                lanes[lane].pop(0)
            refused.add(lane)
        else:
            lanes[lane].pop(0)
            refused.clear()

    expected = {
        "holds": (Ticket.Status.RESERVED, orders[-1]),
        "ended": (Ticket.Status.FREE, None),
        "paid": (Ticket.Status.SOLD, orders[-1]),
    }
    assert (ticket.status, ticket.order_id) == expected[last]
