from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from apps.expiration.events import OrderCreated, OrderDeadline

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
BEFORE = NOON - timedelta(milliseconds=1)
AFTER = NOON + timedelta(milliseconds=1)


def make_order_id() -> str:
    return str(uuid.uuid4())


def make_event(cls: type[OrderDeadline] = OrderCreated, **changes: Any) -> OrderDeadline:
    return cls(**{"order_id": make_order_id(), "version": 1, "expires_at": NOON} | changes)
