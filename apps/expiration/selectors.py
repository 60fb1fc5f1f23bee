from __future__ import annotations

from datetime import datetime

from apps.expiration.models import Deadline


def find_deadline(order_id: str) -> Deadline | None:
    return Deadline.objects.filter(pk=order_id).first()


def list_overdue(*, now: datetime, limit: int) -> list[str]:
    """Return the orders whose deadline has passed and was not noticed, oldest first.

    The sweep asks this every second, so it must read nothing but what it returns: the index on
    (state, expires_at) already has this order. Asking for it by order_by() would be sure as well,
    but the backend then carries whole documents through a sort (ADR 0003).
    """
    overdue = Deadline.objects.filter(state=Deadline.State.ARMED, expires_at__lte=now)
    return [deadline.order_id for deadline in overdue[:limit]]
