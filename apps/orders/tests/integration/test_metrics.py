from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from prometheus_client import REGISTRY

from apps.orders.models import Order
from apps.orders.tests.factories import make_order
from apps.outbox.status import set_gauges

pytestmark = pytest.mark.django_db(transaction=True)


def test_holds_are_counted_with_the_store_and_those_that_outlive_their_time_apart():
    now = timezone.now()
    make_order(expires_at=now + timedelta(minutes=5)).save()
    make_order(expires_at=now - timedelta(seconds=30)).save()
    make_order(expires_at=now - timedelta(minutes=5)).save()
    make_order(
        status=Order.Status.COMPLETE, payment_id="paid", expires_at=now - timedelta(minutes=5)
    ).save()

    set_gauges()

    assert REGISTRY.get_sample_value("orders_holds") == 3
    assert REGISTRY.get_sample_value("orders_overdue_holds") == 1
