from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

from django.conf import settings

from apps.outbox.management.base import OutboxCommand
from apps.outbox.worker import liveness, run_until_signalled
from apps.payments.gateway import provider
from apps.payments.management.settler import Settler
from apps.payments.reconciliation.regularly import Regularly
from apps.payments.reconciliation.running import LOOK_AGAIN_SECONDS, Reconciler

EXAMPLE = """\
example:
  DJANGO_SETTINGS_MODULE=ticketing.settings.payments manage.py settle_payments

SIGTERM ends it after the attempts in hand: SETTLE_AT_ONCE at most. Any number may run at once.
Every RECONCILE_SECONDS it compares all sides of the last RECONCILE_DAYS as well, for its metrics:
see reconcile_payments.
"""


class Command(OutboxCommand):
    help = "Settle attempts to pay whose outcome is unknown, close payments, give refunds."
    examples = EXAMPLE

    def handle(self, *_args: Any, **_options: Any) -> None:  # noqa: ANN401
        with ExitStack() as stack:
            if settings.RECONCILE_SECONDS:
                reconciler = Reconciler(
                    gateway=provider(), pause=lambda: time.sleep(LOOK_AGAIN_SECONDS)
                )
                regularly = Regularly(
                    reconciler,
                    every=settings.RECONCILE_SECONDS,
                    back=timedelta(days=settings.RECONCILE_DAYS),
                )
                regularly.start()
                stack.callback(regularly.stop)
            run_until_signalled(
                Settler(provider(), at_once=settings.SETTLE_AT_ONCE, alive=liveness())
            )
