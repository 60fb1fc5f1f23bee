from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError

from ...conf import settings
from ...monitoring import store_gauges
from ...relay import build_relay
from ...status import set_gauges
from ...worker import run_until_signalled
from ..base import OutboxCommand

EXAMPLE = """\
example:
  manage.py relay_outbox

Any number may run: they divide the keys among them, and within five seconds take over from one that
has died. SIGTERM ends it after the batch in hand.
"""


class Command(OutboxCommand):
    help = "Send this service's committed events to their topics."
    examples = EXAMPLE

    def handle(self, *_args: Any, **_options: Any) -> None:  # noqa: ANN401
        if settings.OUTBOX_TRANSPORT != "relay":
            raise CommandError(
                f"Debezium carries the events of {settings.SERVICE_NAME}. "
                "Set OUTBOX_TRANSPORT=relay to send them without it."
            )
        run_until_signalled(build_relay(), gauges=store_gauges(set_gauges))
