from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from apps.outbox.worker import HelpFormatter, liveness, run_until_signalled
from apps.payments.gateway import provider
from apps.payments.management.settler import Settler

EXAMPLE = """\
example:
  DJANGO_SETTINGS_MODULE=ticketing.settings.payments manage.py settle_payments

SIGTERM ends it after the attempt in hand. Any number may run at once.
"""


class Command(BaseCommand):
    help = "Settle attempts to pay whose outcome is unknown, close payments, give refunds."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:  # noqa: ANN401
        kwargs |= {"formatter_class": HelpFormatter, "epilog": EXAMPLE}
        return super().create_parser(prog_name, subcommand, **kwargs)

    def handle(self, *_args: Any, **_options: Any) -> None:  # noqa: ANN401
        run_until_signalled(Settler(provider(), alive=liveness()))
