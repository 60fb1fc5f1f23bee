from __future__ import annotations

from typing import Any

from apps.outbox.management.base import OutboxCommand
from apps.outbox.worker import liveness, run_until_signalled
from apps.payments.gateway import provider
from apps.payments.management.settler import Settler

EXAMPLE = """\
example:
  DJANGO_SETTINGS_MODULE=ticketing.settings.payments manage.py settle_payments

SIGTERM ends it after the attempt in hand. Any number may run at once.
"""


class Command(OutboxCommand):
    help = "Settle attempts to pay whose outcome is unknown, close payments, give refunds."
    examples = EXAMPLE

    def handle(self, *_args: Any, **_options: Any) -> None:  # noqa: ANN401
        run_until_signalled(Settler(provider(), alive=liveness()))
