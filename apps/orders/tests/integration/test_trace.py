from __future__ import annotations

import json

import pytest

from apps.orders.models import Order
from apps.orders.tests.story import cancel, reload, reserve
from apps.outbox.context import Trace, traced
from apps.outbox.models import OutboxEvent

pytestmark = pytest.mark.django_db(transaction=True)

RESERVING = f"00-{'a' * 32}-{'1' * 16}-01"
CANCELLING = f"00-{'b' * 32}-{'2' * 16}-01"


def test_another_request_about_an_order_goes_on_in_the_orders_trace():
    with traced(Trace(traceparent=RESERVING, correlation_id="reserve")):
        order = reserve()
    with traced(Trace(traceparent=CANCELLING, correlation_id="cancel")):
        cancel(order)

    assert headers_of(order) == [
        {"traceparent": RESERVING, "ce_correlationid": "reserve"},
        {"traceparent": RESERVING, "ce_correlationid": "cancel"},
    ]


def test_an_order_from_before_traces_were_kept_goes_on_in_the_requests():
    order = reserve()
    Order.objects.filter(pk=order.pk).update(traceparent="")

    with traced(Trace(traceparent=CANCELLING)):
        cancel(reload(order))

    assert headers_of(order)[1] == {"traceparent": CANCELLING}


def headers_of(order):
    events = OutboxEvent.objects.filter(aggregate_id=str(order.pk)).order_by("version")
    return [json.loads(event.headers) for event in events]
