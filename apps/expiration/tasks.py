"""What the Celery worker runs: the alarm that consumers set, and the sweep that beat sends."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from apps.expiration import services
from apps.expiration.gateway import FIRE_DEADLINE, SWEEP_DEADLINES


@shared_task(name=FIRE_DEADLINE)
def fire_deadline(*, order_id: str, **_: object) -> None:
    services.fire_deadline(order_id=order_id, now=timezone.now())


@shared_task(name=SWEEP_DEADLINES)
def sweep_deadlines(**_: object) -> None:
    services.sweep_deadlines(now=timezone.now())
