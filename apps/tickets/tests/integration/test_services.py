from __future__ import annotations

from datetime import timedelta

import orjson
import pytest

from apps.core.errors import Invalid, NotSignedIn
from apps.outbox.models import OutboxEvent
from apps.outbox.transactions import run_in_transaction
from apps.tickets import selectors, services
from apps.tickets.models import Ticket, TicketReserved, TicketSold
from apps.tickets.selectors import TicketNotFound
from apps.tickets.services import TicketChanged
from apps.tickets.tests.factories import NOON, list_ticket, new_id, published

pytestmark = pytest.mark.django_db(transaction=True)

LATER = NOON + timedelta(hours=1)


def versions(ticket: Ticket) -> list[int]:
    return [event.version for event in published(ticket)]


def state_of(event: OutboxEvent) -> dict[str, object]:
    return orjson.loads(bytes(event.payload))


def test_new_ticket_is_published_with_its_whole_state():
    seller_id = new_id()

    ticket = list_ticket(title=" Nine Owls ", price_cents=1250, seller_id=seller_id)

    (event,) = published(ticket)
    assert (event.topic, event.key, event.type) == (
        "ticketing.tickets",
        str(ticket.pk),
        "ticketing.tickets.ticket.created.v1",
    )
    assert state_of(event) == {
        "ticket_id": str(ticket.pk),
        "version": 1,
        "title": "Nine Owls",
        "price_cents": 1250,
        "currency": "usd",
        "seller_id": seller_id,
        "order_id": None,
        "is_withdrawn": False,
    }


@pytest.mark.parametrize("price_cents", [0, 49])
def test_refused_ticket_leaves_neither_ticket_nor_event(price_cents):
    seller_id = new_id()

    with pytest.raises(Invalid):
        list_ticket(price_cents=price_cents, seller_id=seller_id)

    assert not Ticket.objects.filter(seller_id=seller_id).exists()
    assert not OutboxEvent.objects.exists()


def test_every_change_raises_the_version_by_one_and_is_published():
    ticket = list_ticket()
    ticket_id, seller_id = str(ticket.pk), ticket.seller_id

    services.update_ticket(
        ticket_id=ticket_id, seller_id=seller_id, title="Nine Owls", price_cents=1999, now=LATER
    )
    services.withdraw_ticket(ticket_id=ticket_id, seller_id=seller_id, now=LATER)
    services.relist_ticket(ticket_id=ticket_id, seller_id=seller_id, now=LATER)
    services.reserve_ticket(ticket_id=ticket_id, order_id="order-a", now=LATER)
    services.release_ticket(ticket_id=ticket_id, order_id="order-a", now=LATER)
    services.sell_ticket(ticket_id=ticket_id, order_id="order-b", now=LATER)

    assert versions(ticket) == [1, 2, 3, 4, 5, 6, 7]
    assert [(state_of(e)["order_id"], state_of(e)["is_withdrawn"]) for e in published(ticket)] == [
        (None, False), (None, False), (None, True), (None, False), ("order-a", False),
        (None, False), ("order-b", False),
    ]  # fmt: skip
    stored = selectors.get_ticket(ticket_id)
    assert (stored.version, stored.title, stored.price_cents) == (7, "Nine Owls", 1999)
    assert (stored.status, stored.created_at, stored.updated_at) == ("sold", NOON, LATER)


@pytest.mark.parametrize("change", ["withdraw_ticket", "relist_ticket"])
def test_nobody_but_the_seller_takes_a_listing_back(change):
    ticket = list_ticket()

    with pytest.raises(NotSignedIn):
        getattr(services, change)(ticket_id=str(ticket.pk), seller_id=new_id(), now=LATER)

    assert versions(ticket) == [1]


def test_nobody_but_the_seller_edits_and_that_is_said_before_that_it_is_reserved():
    ticket = list_ticket()
    services.reserve_ticket(ticket_id=str(ticket.pk), order_id="order-a", now=NOON)

    with pytest.raises(NotSignedIn):
        services.update_ticket(
            ticket_id=str(ticket.pk), seller_id=new_id(), title="x", price_cents=1, now=LATER
        )


def test_reserved_ticket_cannot_be_edited_even_by_its_seller():
    ticket = list_ticket()
    services.reserve_ticket(ticket_id=str(ticket.pk), order_id="order-a", now=NOON)

    with pytest.raises(TicketReserved):
        services.update_ticket(
            ticket_id=str(ticket.pk),
            seller_id=ticket.seller_id,
            title="x",
            price_cents=1,
            now=LATER,
        )

    assert versions(ticket) == [1, 2]


def test_stale_cancel_frees_no_hold_of_another_buyer_and_publishes_nothing():
    ticket = list_ticket()
    ticket_id = str(ticket.pk)
    services.reserve_ticket(ticket_id=ticket_id, order_id="order-a", now=NOON)
    services.release_ticket(ticket_id=ticket_id, order_id="order-a", now=NOON)
    services.reserve_ticket(ticket_id=ticket_id, order_id="order-b", now=NOON)

    services.release_ticket(ticket_id=ticket_id, order_id="order-a", now=LATER)
    services.release_ticket(ticket_id=ticket_id, order_id="order-a", now=LATER)

    stored = selectors.get_ticket(ticket_id)
    assert (stored.order_id, stored.version, stored.updated_at) == ("order-b", 4, NOON)
    assert versions(ticket) == [1, 2, 3, 4]


def test_hold_replayed_after_its_end_was_heard_of_does_not_lock_the_ticket_for_ever():
    ticket = list_ticket()
    ticket_id = str(ticket.pk)

    services.release_ticket(ticket_id=ticket_id, order_id="order-a", now=NOON)
    services.reserve_ticket(ticket_id=ticket_id, order_id="order-a", now=LATER)

    assert selectors.get_ticket(ticket_id).is_free
    assert versions(ticket) == [1]


def test_repeated_sale_is_no_news_and_a_second_buyer_is_refused_loudly():
    ticket = list_ticket()
    ticket_id = str(ticket.pk)
    services.sell_ticket(ticket_id=ticket_id, order_id="order-a", now=NOON)

    services.sell_ticket(ticket_id=ticket_id, order_id="order-a", now=LATER)
    with pytest.raises(TicketSold):
        services.sell_ticket(ticket_id=ticket_id, order_id="order-b", now=LATER)

    assert versions(ticket) == [1, 2]


def test_order_for_a_ticket_that_never_was_is_refused_loudly():
    with pytest.raises(TicketNotFound):
        services.reserve_ticket(ticket_id=new_id(), order_id="order-a", now=NOON)


def test_administrator_takes_down_anybodys_listing():
    ticket = list_ticket()

    services.take_down_ticket(ticket_id=str(ticket.pk), now=LATER)

    assert selectors.get_ticket(str(ticket.pk)).status == Ticket.Status.WITHDRAWN
    assert state_of(published(ticket)[-1])["is_withdrawn"] is True


def test_import_adds_what_is_missing_and_no_more():
    def listing(ticket_id: str) -> services.Listing:
        return services.Listing(
            ticket_id=ticket_id, seller_id="s", title="Orchard", price_cents=900, listed_at=NOON
        )

    first, second = new_id(), new_id()

    assert services.import_tickets([listing(first)]) == 1
    assert services.import_tickets([listing(first), listing(second)]) == 1
    assert services.import_tickets([listing(first), listing(second)]) == 0

    assert OutboxEvent.objects.filter(aggregate_id__in=[first, second]).count() == 2


def test_import_of_a_batch_with_a_refused_listing_leaves_nothing():
    good, bad = (
        services.Listing(
            ticket_id=new_id(), seller_id="s", title=title, price_cents=900, listed_at=NOON
        )
        for title in ("Orchard Street", " ")
    )

    with pytest.raises(Invalid):
        services.import_tickets([good, bad])

    assert selectors.find_ticket(good.ticket_id) is None


def test_change_of_a_ticket_that_was_read_too_long_ago_is_refused():
    stale = list_ticket()
    services.reserve_ticket(ticket_id=str(stale.pk), order_id="order-a", now=NOON)
    stale.withdraw(at=LATER)

    with pytest.raises(TicketChanged):
        run_in_transaction(lambda: services._store(stale))

    assert selectors.get_ticket(str(stale.pk)).status == Ticket.Status.RESERVED
    assert versions(stale) == [1, 2]
