from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from django.conf import settings

from apps.orders import events


@dataclass(frozen=True, kw_only=True)
class OrderCreated(events.OrderCreated):
    """An order's event, on a topic of the benchmark's own."""

    topic: ClassVar[str] = settings.BENCH_TOPIC
