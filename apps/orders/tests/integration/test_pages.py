from __future__ import annotations

import pytest
from django.test import Client
from django.utils import timezone

from apps.orders import services
from apps.orders.models import Order
from apps.orders.tests.factories import NOON, list_ticket, make_order, new_id
from apps.orders.tests.story import (
    cancel,
    closed,
    deliver,
    expired,
    failed,
    let_expire,
    refunded,
    reload,
    reserve,
    started,
    succeeded,
)

pytestmark = pytest.mark.django_db(transaction=True)


def fresh_order(buyer_id="buyer", **facts):
    """Return an order whose time has not run out yet on the real clock."""
    ticket = list_ticket(**facts)
    return services.create_order(ticket_id=ticket.ticket_id, buyer_id=buyer_id, now=timezone.now())


def page_of(order):
    return f"/orders/{order.pk}/"


def press_reserve(client, ticket_id):
    return client.post("/orders/reserve/", {"ticket_id": ticket_id})


def said(answer):
    return [str(message) for message in answer.wsgi_request._messages]


def test_stranger_is_sent_to_sign_in_and_back():
    for path in ("/orders/", page_of(fresh_order())):
        answer = Client().get(path)
        assert answer.status_code == 302
        assert answer["Location"].startswith("/auth/signin/?next=%2Forders%2F")


def test_reserve_button_leads_to_the_order(buyer):
    ticket = list_ticket()

    answer = press_reserve(buyer, ticket.ticket_id)

    order = Order.objects.get(ticket_id=ticket.ticket_id)
    assert answer["Location"] == page_of(order)
    page = buyer.get(page_of(order)).content.decode()
    assert "The ticket is reserved for you." in page
    assert f"/payments/{order.pk}/" in page
    assert "data-deadline" in page


def test_second_click_on_reserve_leads_to_the_same_order(buyer):
    order = fresh_order()

    answer = press_reserve(buyer, order.ticket_id)

    assert answer["Location"] == page_of(order)
    assert Order.objects.filter(ticket_id=order.ticket_id).count() == 1


def test_ticket_that_was_reserved_meanwhile_leads_back_to_its_page_with_the_reason(buyer):
    order = fresh_order("another")

    answer = press_reserve(buyer, order.ticket_id)

    assert answer["Location"] == f"/tickets/{order.ticket_id}/"
    assert "reserved meanwhile" in said(answer)[0]


def test_ticket_that_is_unknown_yet_leads_back_to_its_page_with_advice(buyer):
    ticket_id = new_id()

    answer = press_reserve(buyer, ticket_id)

    assert answer["Location"] == f"/tickets/{ticket_id}/"
    assert "try again in a few seconds" in said(answer)[0]


@pytest.mark.parametrize("ticket_id", ["", "//evil.example", "../..", "\x00", "x" * 65, "a\nb"])
def test_malformed_ticket_leads_nowhere_else_than_home(buyer, ticket_id):
    answer = press_reserve(buyer, ticket_id)

    assert (answer.status_code, answer["Location"]) == (302, "/")


def test_address_of_the_reserve_button_itself_leads_home(buyer):
    assert buyer.get("/orders/reserve/")["Location"] == "/"


def test_form_from_another_site_is_refused(sign_in):
    client = sign_in("buyer", enforce_csrf_checks=True)
    ticket = list_ticket()

    assert press_reserve(client, ticket.ticket_id).status_code == 403
    assert not Order.objects.filter(ticket_id=ticket.ticket_id).exists()


@pytest.mark.parametrize("path", ["/orders/{}/", "/orders/{}/cancel/"])
@pytest.mark.parametrize(
    "order_id", ["nonsense", "%00", "☂", "019ab3c0-5b1e-7c3a-9d52-6f0d4c1be0a7"]
)
def test_unknown_order_has_no_page(buyer, path, order_id):
    address = path.format(order_id)
    answer = buyer.post(address) if "cancel" in path else buyer.get(address)

    assert answer.status_code == 404


def test_anothers_order_has_no_page_and_cannot_be_cancelled(sign_in):
    order = fresh_order()
    other = sign_in("another")

    assert other.get(page_of(order)).status_code == 404
    assert other.post(f"{page_of(order)}cancel/").status_code == 404
    assert reload(order).is_open


def test_cancel_button_frees_the_ticket_and_says_so(buyer):
    order = fresh_order()

    answer = buyer.post(f"{page_of(order)}cancel/", follow=True)

    assert reload(order).is_cancelled
    page = answer.content.decode()
    assert "Your order is cancelled" in page
    assert "You cancelled this order" in page


def test_opening_the_address_of_the_cancel_button_cancels_nothing(buyer):
    order = fresh_order()

    assert buyer.get(f"{page_of(order)}cancel/")["Location"] == page_of(order)
    assert reload(order).is_open


def test_paid_order_says_why_it_cannot_be_cancelled(buyer):
    order = fresh_order()
    deliver(succeeded(order))

    page = buyer.post(f"{page_of(order)}cancel/", follow=True).content.decode()

    assert "A paid order cannot be cancelled." in page
    assert "The ticket is yours" in page
    assert "Cancel the order" not in page


def test_buyer_who_paid_reads_confirming_until_it_is_complete_by_itself(buyer):
    order = fresh_order()
    address = f"{page_of(order)}?confirming=1"

    before = buyer.get(address).content.decode()
    deliver(succeeded(order))
    after = buyer.get(address).content.decode()

    assert "Confirming your payment" in before
    assert f'data-refresh-url="{page_of(order)}?confirming=1&amp;since=0"' in before
    assert 'data-state="confirming-open" data-refresh-until=""' in before
    assert '<noscript><meta http-equiv="refresh"' in before
    assert f"/payments/{order.pk}/" not in before
    assert "The ticket is yours" in after
    assert 'data-state="paid" data-refresh-until="paid"' in after


def test_decline_that_arrives_while_confirming_is_shown_with_its_reason(buyer):
    order = fresh_order()
    deliver(started(order))
    deliver(failed(order))

    page = buyer.get(f"{page_of(order)}?confirming=1&since=0").content.decode()

    assert "Your card was declined." in page
    assert f"/payments/{order.pk}/" in page


@pytest.mark.parametrize("since", ["", "x", "-1", "9" * 5_000, "²", "%00", "1.5"])
def test_garbage_beside_confirming_is_no_error(buyer, since):
    order = fresh_order()

    answer = buyer.get(f"{page_of(order)}?confirming=1&since={since}")

    assert answer.status_code == 200
    assert "Confirming your payment" in answer.content.decode()


def test_order_whose_time_is_over_says_that_it_is_being_ended(buyer):
    order = reserve()

    page = buyer.get(page_of(order)).content.decode()

    assert "The time to pay is over" in page
    assert f"/payments/{order.pk}/" not in page


def test_expired_order_says_when_and_why(buyer):
    order = let_expire(reserve())

    page = buyer.get(page_of(order)).content.decode()

    assert "The reservation expired" in page
    assert "Nothing was charged." in page
    assert "23 Nov 2026, 12:15:00 UTC" in page
    assert 'data-refresh-until="expired"' in page


def test_order_paid_while_its_time_ran_out_explains_itself(buyer):
    order = reserve()
    deliver(expired(order))
    deliver(succeeded(order))

    page = buyer.get(page_of(order)).content.decode()

    assert "It was made before the reservation ended" in page


def test_revived_order_explains_itself(buyer):
    order = let_expire(reserve())
    deliver(succeeded(order))

    assert "The ticket is yours after all" in buyer.get(page_of(order)).content.decode()


def test_refund_is_explained_from_its_request_to_its_arrival(buyer):
    order = let_expire(reserve())
    fresh = make_order(ticket_id=order.ticket_id, buyer_id="another")
    fresh.save()
    deliver(succeeded(order))

    before = buyer.get(page_of(order)).content.decode()
    deliver(refunded(order))
    after = buyer.get(page_of(order)).content.decode()

    assert "$12.50 is on its way back to you" in before
    assert "Nothing was charged." not in before
    assert 'data-refresh-until=""' in before
    assert "$12.50 went back to you" in after
    assert "The ticket was gone." in after
    assert 'data-refresh-until="expired"' in after


def test_cancelled_order_keeps_looking_until_the_payments_have_closed(buyer):
    order = cancel(fresh_order())

    before = buyer.get(page_of(order)).content.decode()
    deliver(closed(order))
    after = buyer.get(page_of(order)).content.decode()

    assert 'data-state="cancelled-open" data-refresh-until=""' in before
    assert 'data-refresh-until="cancelled"' in after
    assert "Nothing was charged." in after


def test_title_of_a_ticket_is_text_and_no_markup(buyer):
    order = fresh_order(title="<script>alert(1)</script> \u202e & ☂")

    for path in (page_of(order), "/orders/"):
        page = buyer.get(path).content.decode()
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_list_says_in_a_word_where_each_order_stands(buyer):
    fresh_order(title="Reserved")
    reserve(list_ticket(title="Ending").ticket_id)
    let_expire(reserve(list_ticket(title="Expired").ticket_id))
    cancel(reserve(list_ticket(title="Cancelled").ticket_id))
    paid = reserve(list_ticket(title="Paid").ticket_id)
    deliver(succeeded(paid))
    deliver(succeeded(paid, "p2", 3))
    deliver(started(reserve(list_ticket(title="Confirming").ticket_id)))

    page = buyer.get("/orders/").content.decode()

    for words in (
        "data-deadline",
        "Reserved, not paid",
        "Time is up",
        "Expired",
        "Cancelled",
        "Paid",
        "$12.50 is on its way back",
        "Confirming payment",
    ):
        assert words in page


def test_list_comes_in_pages_and_forgives_their_numbers(buyer):
    Order.objects.bulk_create(
        make_order(
            ticket_title=f"Seat {number:02}", status="cancelled", cancelled_at=NOON,
            cancel_reason="buyer",
        )
        for number in range(25)
    )  # fmt: skip

    first = buyer.get("/orders/").content.decode()
    second = buyer.get("/orders/?page=2").content.decode()

    assert (first.count("Seat "), second.count("Seat ")) == (20, 5)
    assert "?page=2" in first
    for number in ("0", "-1", "99", "x", "%00", "9" * 5_000):
        assert buyer.get(f"/orders/?page={number}").status_code == 200


def test_buyer_without_orders_is_shown_the_way(sign_in):
    page = sign_in("newcomer").get("/orders/").content.decode()

    assert "You have not reserved anything yet" in page


def test_admin_finds_an_order_and_shows_its_events_and_changes_nothing(sign_in):
    order = reserve()
    deliver(succeeded(order))
    staff = sign_in("staff", is_staff=True)
    address = f"/orders/admin/orders/order/{order.pk}/change/"

    page = staff.get(address).content.decode()

    assert "ticketing.orders.order.completed.v1" in page
    assert "ticketing.payments.payment.succeeded.v1" in page
    assert staff.post(address, {"status": "cancelled"}).status_code == 403
    assert staff.get("/orders/admin/orders/order/add/").status_code == 403
    assert reload(order).is_complete


@pytest.mark.parametrize("query", ["{order.pk}", "{order.ticket_id}", "buyer", "front row", "p1"])
def test_admin_search_finds_an_order_by(sign_in, query):
    order = reserve()
    deliver(succeeded(order))
    staff = sign_in("staff", is_staff=True)

    page = staff.get("/orders/admin/orders/order/", {"q": query.format(order=order)})

    assert str(order.pk) in page.content.decode()


def test_admin_search_finds_an_order_by_a_payment_whose_id_is_a_uuid_as_all_are(sign_in):
    order = reserve()
    payment_id = new_id()
    deliver(succeeded(order, payment_id=payment_id))
    staff = sign_in("staff", is_staff=True)

    page = staff.get("/orders/admin/orders/order/", {"q": payment_id})

    assert str(order.pk) in page.content.decode()


@pytest.mark.parametrize("query", ["nothing", "'", "%", new_id()])
def test_admin_search_for_nonsense_finds_nothing(sign_in, query):
    order = reserve()
    staff = sign_in("staff", is_staff=True)

    page = staff.get("/orders/admin/orders/order/", {"q": f"zzz{query}"})

    assert page.status_code == 200
    assert str(order.pk) not in page.content.decode()


def test_admin_lists_copies_of_tickets(sign_in):
    copy = list_ticket(title="Gallery")

    page = sign_in("staff", is_staff=True).get("/orders/admin/orders/ticketcopy/?q=gallery")

    assert copy.ticket_id in page.content.decode()


def test_buyer_who_is_no_staff_has_no_admin(buyer):
    assert buyer.get("/orders/admin/").status_code == 302
