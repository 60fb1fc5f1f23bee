from __future__ import annotations

from datetime import timedelta

from apps.tickets.management.listings import demo_listings
from apps.tickets.models import TITLE_LENGTH, clean_title
from apps.tickets.tests.factories import NOON, new_id


def test_demo_listings_keep_their_ids_from_run_to_run():
    again = NOON + timedelta(days=40)

    first = list(demo_listings(300, seller_id="", now=NOON))
    second = list(demo_listings(300, seller_id="", now=again))

    assert [each.ticket_id for each in first] == [each.ticket_id for each in second]
    assert len({each.ticket_id for each in first}) == 300


def test_demo_listings_are_varied_and_keep_the_rules():
    listings = list(demo_listings(300, seller_id="", now=NOON))

    assert len({each.title for each in listings}) > 290
    assert all(clean_title(each.title) == each.title for each in listings)
    assert max(len(each.title) for each in listings) < TITLE_LENGTH
    assert all(1000 <= each.price_cents <= 30_000 for each in listings)
    assert len({each.seller_id for each in listings}) >= 5


def test_demo_listings_are_listed_in_order_and_none_in_the_future():
    moments = [each.listed_at for each in demo_listings(50, seller_id="", now=NOON)]

    assert moments == sorted(moments)
    assert moments[-1] < NOON


def test_demo_account_sells_some_of_the_demo_listings():
    seller_id = new_id()

    sellers = [each.seller_id for each in demo_listings(300, seller_id=seller_id, now=NOON)]

    assert 10 < sellers.count(seller_id) < 100
