"""What happened to an order, and why: kept event by event, told to its buyer and to staff."""

from __future__ import annotations

import html
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from apps.orders import selectors
from apps.orders.events import (
    MailGivenUp,
    MailSent,
    PaymentNotified,
    PaymentUnsure,
    TicketUpdated,
)
from apps.orders.models import TicketCopy, TimelineEntry
from apps.orders.selectors import OrderNotFound
from apps.orders.tests.factories import NOON, make_order, new_id
from apps.orders.tests.story import (
    cancel,
    closed,
    deliver,
    disputed,
    expired,
    failed,
    let_expire,
    refund_of,
    refund_requested,
    reload,
    reserve,
    started,
    succeeded,
)
from apps.outbox.context import Trace, traced
from apps.outbox.models import DeadLetter, OutboxEvent, ReceivedEvent

pytestmark = pytest.mark.django_db(transaction=True)

TRACE = f"00-{'a' * 32}-{'1' * 16}-01"


def hear(event, *, cause="", at=None, event_id="", **headers):
    """Let the consumer hand an event over as a record brings it, and return the event's id."""
    event_id = event_id or new_id()
    at = at or timezone.now()
    with traced(Trace(causation_id=event_id, traceparent=TRACE)):
        deliver(
            event,
            event_id=event_id,
            ce_id=event_id,
            ce_time=at.isoformat(),
            ce_causationid=cause,
            ce_correlationid="request-1",
            traceparent=TRACE,
            **headers,
        )
    return event_id


def names(order):
    return [" ".join(entry.type.split(".")[2:-1]) for entry in selectors.list_timeline(order=order)]


def ours(order, name):
    """The id of the last event of that name which orders published."""
    row = OutboxEvent.objects.filter(aggregate_id=str(order.pk), record__endswith=f".{name}")
    return str(row.latest("version").pk)


def buyers_page(client, order):
    return html.unescape(client.get(f"/orders/{order.pk}/").content.decode())


def history(client, order):
    return buyers_page(client, order).partition('id="order-history"')[2]


def staffs_page(client, order):
    return client.get(f"/orders/admin/orders/order/{order.pk}/timeline/")


def in_this_order(page, *parts):
    places = [page.index(part) for part in parts]
    assert places == sorted(places)


def unsure(order, version=2):
    return PaymentUnsure(
        order_id=str(order.pk),
        version=version,
        payment_id="p1",
        attempt=1,
        reason="APIConnectionError: timed out",
    )


def notified(order, version=3):
    return PaymentNotified(
        order_id=str(order.pk),
        version=version,
        payment_id="p1",
        attempt=1,
        webhook_id="evt_1",
        webhook_type="payment_intent.succeeded",
        webhook_created_at=NOON,
        received_at=NOON,
    )


def test_a_declined_then_paid_then_refunded_order_tells_all_of_it_with_its_causes(buyer, sign_in):
    order = reserve()
    first = hear(started(order))
    hear(failed(order), cause=first)
    second = hear(started(order, "p2", 3))
    paid = hear(succeeded(order, "p2", 4), cause=second)
    asked = hear(refund_requested(order, 1250, payment_id="p2"))
    hear(refund_of(order, 1250, 1250, payment_id="p2", version=6), cause=asked)

    assert names(order) == [
        "order created",
        "payment started",
        "order awaiting_payment",
        "payment failed",
        "payment started",
        "payment succeeded",
        "order completed",
        "payment refund_requested",
        "payment refunded",
        "order cancelled",
    ]
    completed = TimelineEntry.objects.get(pk=ours(order, "OrderCompleted"))
    assert completed.causation_id == paid
    page = history(buyer, order)
    in_this_order(
        page,
        "What happened",
        "You reserved the ticket.",
        "You began to pay.",
        "The payment did not go through. Your card was declined.",
        "Your payment of $12.50 arrived.",
        "The ticket became yours.",
        "$12.50 was to go back to you. The first act was cut.",
        "The order ended, since all of the money goes back to you.",
    )
    staff = staffs_page(sign_in("ada", is_staff=True), order).content.decode()
    in_this_order(staff, f'id="e{paid}"', "Payment succeeded", f'because of <a href="#e{paid}">')
    for shown in (asked, "request-1", "ce_causationid", "staff:ada@example.com", "a" * 32):
        assert shown in staff
        assert shown not in page


def test_an_expired_order_tells_of_its_deadline(buyer):
    order = reserve()
    created = ours(order, "OrderCreated")
    passed = hear(expired(order), cause=created)
    hear(closed(order), cause=ours(order, "OrderExpired"))

    assert names(order) == [
        "order created",
        "expiration completed",
        "order expired",
        "payment closed",
        "order cancelled",
    ]
    assert TimelineEntry.objects.get(pk=ours(order, "OrderExpired")).causation_id == passed
    in_this_order(
        history(buyer, order),
        "The time to pay ran out.",
        "The reservation ended unpaid, and the ticket became free.",
    )


def test_late_money_tells_why_it_went_back(buyer):
    order = reserve()
    let_expire(order)
    TicketCopy.objects.filter(pk=order.ticket_id).update(is_withdrawn=True)
    told = hear(notified(order, 4))
    paid = hear(succeeded(order, version=5), cause=told)

    assert names(order)[-3:] == ["payment notified", "payment succeeded", "order refund_requested"]
    assert TimelineEntry.objects.get(pk=ours(order, "OrderRefundRequested")).causation_id == paid
    assert "evt_1" not in buyers_page(buyer, order)


def test_doubts_webhooks_disputes_and_mails_are_news_that_change_nothing(buyer, sign_in):
    order = reserve()
    begun = hear(started(order))
    hear(unsure(order), cause=begun)
    hear(notified(order))
    hear(succeeded(order, version=4))
    before = reload(order).version
    hear(disputed(order))
    hear(disputed(order, "under_review", 6))
    fact = {"order_id": str(order.pk), "version": 1, "attempts": 1}
    hear(MailSent(mail_id="m1", kind="paid", **fact))
    hear(MailGivenUp(mail_id="m2", kind="reserved", why="refused", **fact))

    assert reload(order).version == before
    page = history(buyer, order)
    in_this_order(
        page,
        "It was not certain at once",
        "Your payment of $12.50 arrived.",
        "Your bank asked for the payment back.",
        "We sent you the ticket by mail.",
        "We could not send you a mail about this order.",
    )
    assert page.count("Your bank asked for the payment back.") == 1
    assert "APIConnectionError" not in page
    staff = staffs_page(sign_in("ada", is_staff=True), order).content.decode()
    for shown in ("APIConnectionError: timed out", "evt_1", "dp_1", "refused"):
        assert shown in staff


def test_an_effect_comes_after_its_cause_whatever_the_clocks_say():
    order = reserve()
    now = timezone.now()
    begun = hear(notified(order), at=now + timedelta(minutes=5))
    hear(unsure(order), cause=begun, at=now - timedelta(minutes=1))

    assert names(order)[-2:] == ["payment notified", "payment unsure"]


def test_an_event_is_noted_once_also_when_the_inbox_has_forgotten_it():
    order = reserve()
    event_id = hear(started(order))
    ReceivedEvent.objects.filter(pk__endswith=event_id).delete()

    hear(started(order), event_id=event_id)

    assert TimelineEntry.objects.filter(pk=event_id).count() == 1


def test_events_that_are_their_own_causes_are_shown_all_the_same():
    order = reserve()
    one, other = new_id(), new_id()
    hear(unsure(order, 1), event_id=one, cause=other)
    hear(unsure(order, 2), event_id=other, cause=one)

    assert names(order) == ["order created", "payment unsure", "payment unsure"]


def test_a_record_without_headers_is_noted_with_the_time_of_its_coming():
    order = reserve()
    deliver(started(order))

    entry = order.timeline.get(type__contains="started")
    assert entry.occurred_at == entry.noted_at
    assert (entry.causation_id, entry.trace_id) == ("", "")


def test_a_tickets_event_belongs_to_the_order_that_caused_it():
    order = reserve()
    other = reserve()
    held = TicketUpdated(
        ticket_id=order.ticket_id,
        version=2,
        title=order.ticket_title,
        price_cents=1250,
        currency="usd",
        seller_id="seller",
        order_id=str(order.pk),
    )
    hear(held, cause=ours(order, "OrderCreated"))
    hear(held, cause=new_id())

    assert names(order) == ["order created", "ticket updated"]
    assert names(other) == ["order created"]


def test_news_of_an_order_that_never_was_is_refused():
    with pytest.raises(OrderNotFound):
        hear(notified(make_order()))


def test_what_is_dead_or_waits_is_shown_to_staff(sign_in):
    order = reserve()
    DeadLetter.objects.create(
        id=new_id(),
        stage=DeadLetter.Stage.CONSUMER,
        group="ticketing.orders",
        topic="ticketing.payments",
        key=str(order.pk).encode(),
        event_id="event-of-the-letter",
        error_kind="handler",
        error_message="ValueError: not today",
        first_failed_at=NOON,
        last_failed_at=NOON,
    )

    page = staffs_page(sign_in("ada", is_staff=True), order).content.decode()

    in_this_order(page, "Not handled here", "event-of-the-letter", "ValueError: not today")


def test_a_cancelled_order_tells_its_buyer_who_cancelled_it(buyer):
    order = reserve()
    cancel(order)

    in_this_order(buyers_page(buyer, order), "You reserved the ticket.", "You cancelled the order.")


def test_nobody_else_sees_what_happened(sign_in):
    order = reserve()
    other = sign_in("another")

    assert other.get(f"/orders/{order.pk}/").status_code == 404
    assert staffs_page(other, order)["Location"].startswith("/orders/admin/login/")
    assert other.get(f"/orders/admin/orders/order/{order.pk}/", follow=True).status_code == 403
    assert staffs_page(Client(), order).status_code == 302
    staff = sign_in("ada", is_staff=True)
    assert staffs_page(staff, order).status_code == 200
    assert staff.get(f"/orders/admin/orders/order/{new_id()}/timeline/").status_code == 404


def test_an_order_from_before_the_timeline_has_a_page_that_says_so(buyer, sign_in):
    order = reserve()
    order.timeline.all().delete()

    assert "What happened" not in buyers_page(buyer, order)
    page = staffs_page(sign_in("ada", is_staff=True), order).content.decode()
    assert "the order is older than its timeline" in page
