"""What Prometheus is told of orders."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone
from prometheus_client import Gauge

from apps.orders.models import Order

LATE = timedelta(minutes=1)

holds = Gauge("orders_holds", "Tickets held by orders that are not paid.")
overdue_holds = Gauge(
    "orders_overdue_holds", "Those whose time to pay ran out more than a minute ago."
)


def set_gauges() -> None:
    """Count the holds, as they are when somebody asks."""
    held = Order.objects.filter(status__in=Order.OPEN)
    holds.set(held.count())
    overdue_holds.set(held.filter(expires_at__lt=timezone.now() - LATE).count())
