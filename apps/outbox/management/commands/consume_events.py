from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError

from ...conf import settings
from ...consumer import build_consumer
from ...worker import run_until_signalled
from ..base import OutboxCommand

EXAMPLE = """\
example:
  manage.py consume_events

EVENT_HANDLERS says which topics are read. SIGTERM ends it after the message in hand.
"""


class Command(OutboxCommand):
    help = "Read this service's topics and let each event take effect exactly once."
    examples = EXAMPLE

    def handle(self, *_args: Any, **_options: Any) -> None:  # noqa: ANN401
        if not settings.EVENT_HANDLERS:
            raise CommandError(f"{settings.SERVICE_NAME} reads no events: EVENT_HANDLERS is empty.")
        run_until_signalled(build_consumer())
