"""Two at once, on a real database. Whoever comes second sees what the first one did."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from apps.core.errors import DomainError
from apps.tickets import selectors, services
from apps.tickets.models import Ticket, TicketReserved, TicketSold
from apps.tickets.tests.factories import NOON, list_ticket, published

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 12


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Return the calls' results or refusals, after starting them at the same moment."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        barrier.wait(timeout=10)
        try:
            return call()
        except DomainError as refusal:
            return refusal

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def assert_no_version_is_lost(ticket: Ticket) -> Ticket:
    stored = selectors.get_ticket(str(ticket.pk))
    assert [event.version for event in published(ticket)] == list(range(1, stored.version + 1))
    return stored


def reserve(ticket: Ticket, order_id: str) -> Callable[[], Ticket]:
    return lambda: services.reserve_ticket(ticket_id=str(ticket.pk), order_id=order_id, now=NOON)


def release(ticket: Ticket, order_id: str) -> Callable[[], Ticket]:
    return lambda: services.release_ticket(ticket_id=str(ticket.pk), order_id=order_id, now=NOON)


def edit(ticket: Ticket, title: str) -> Callable[[], Ticket]:
    return lambda: services.update_ticket(
        ticket_id=str(ticket.pk),
        seller_id=ticket.seller_id,
        title=title,
        price_cents=9900,
        now=NOON,
    )


def test_two_holds_at_once_both_count_and_one_is_shown():
    for _ in range(ROUNDS):
        ticket = list_ticket()

        at_once(reserve(ticket, "order-a"), reserve(ticket, "order-b"))

        stored = assert_no_version_is_lost(ticket)
        assert sorted(stored.holds) == ["order-a", "order-b"]
        assert stored.order_id == stored.holds[0]
        assert stored.version == 3


def test_same_hold_at_once_counts_once():
    for _ in range(ROUNDS):
        ticket = list_ticket()

        at_once(*[reserve(ticket, "order-a")] * 4)

        stored = assert_no_version_is_lost(ticket)
        assert (stored.holds, stored.version) == (["order-a"], 2)


def test_edit_against_reservation_fails_or_wins_cleanly():
    for _ in range(ROUNDS):
        ticket = list_ticket(title="Before")

        edited, _ = at_once(edit(ticket, "After"), reserve(ticket, "order-a"))

        stored = assert_no_version_is_lost(ticket)
        assert stored.order_id == "order-a"
        if isinstance(edited, TicketReserved):
            assert (stored.title, stored.price_cents, stored.version) == ("Before", 4250, 2)
        else:
            assert (edited.version, edited.order_id) == (2, None)
            assert (stored.title, stored.price_cents, stored.version) == ("After", 9900, 3)


def test_edits_at_once_are_all_kept_as_versions():
    ticket = list_ticket()

    results = at_once(*[edit(ticket, f"Edit {number}") for number in range(8)])

    stored = assert_no_version_is_lost(ticket)
    assert sorted(result.version for result in results) == list(range(2, 10))
    assert stored.title == next(each.title for each in results if each.version == 9)


def test_end_of_one_hold_against_the_beginning_of_the_next_keeps_the_next():
    for _ in range(ROUNDS):
        ticket = list_ticket()
        reserve(ticket, "order-a")()

        at_once(release(ticket, "order-a"), reserve(ticket, "order-b"))

        stored = assert_no_version_is_lost(ticket)
        assert (stored.order_id, stored.holds) == ("order-b", ["order-b"])


def test_end_replayed_against_its_own_beginning_leaves_the_ticket_free():
    for _ in range(ROUNDS):
        ticket = list_ticket()

        at_once(reserve(ticket, "order-a"), release(ticket, "order-a"))

        stored = assert_no_version_is_lost(ticket)
        assert (stored.status, stored.holds) == (Ticket.Status.FREE, [])


def test_two_sales_at_once_have_one_buyer():
    ticket = list_ticket()

    results = at_once(
        *(
            lambda order_id=order_id: services.sell_ticket(
                ticket_id=str(ticket.pk), order_id=order_id, now=NOON
            )
            for order_id in ("order-a", "order-b")
        )
    )

    stored = assert_no_version_is_lost(ticket)
    assert sum(isinstance(result, TicketSold) for result in results) == 1
    assert (stored.is_sold, stored.version) == (True, 2)


def test_withdrawal_against_a_hold_lets_the_hold_have_the_ticket():
    for _ in range(ROUNDS):
        ticket = list_ticket()

        at_once(
            lambda ticket=ticket: services.withdraw_ticket(
                ticket_id=str(ticket.pk), seller_id=ticket.seller_id, now=NOON
            ),
            reserve(ticket, "order-a"),
        )

        stored = assert_no_version_is_lost(ticket)
        assert (stored.status, stored.order_id) == (Ticket.Status.RESERVED, "order-a")
