from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...conf import settings
from ...monitoring import store_gauges
from ...relay import build_relay
from ...status import set_gauges
from ...worker import HelpFormatter, run_until_signalled

EXAMPLE = """\
example:
  manage.py relay_outbox

Any number may run; one leads, the others stand by and take over within five seconds of its death.
SIGTERM ends it after the batch in hand.
"""


class Command(BaseCommand):
    help = "Send this service's committed events to their topics."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:  # noqa: ANN401
        kwargs |= {"formatter_class": HelpFormatter, "epilog": EXAMPLE}
        return super().create_parser(prog_name, subcommand, **kwargs)

    def handle(self, *_args: Any, **_options: Any) -> None:  # noqa: ANN401
        if settings.OUTBOX_TRANSPORT != "relay":
            raise CommandError(
                f"Debezium carries the events of {settings.SERVICE_NAME}. "
                "Set OUTBOX_TRANSPORT=relay to send them without it."
            )
        run_until_signalled(build_relay(), gauges=store_gauges(set_gauges))
