from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError

from ...conf import settings
from ...monitoring import store_gauges
from ...raw import build_raw_worker
from ...status import set_gauges
from ...worker import run_until_signalled
from ..base import OutboxCommand

EXAMPLE = """\
example:
  manage.py consume_raw_orders

Any number may run; Kafka divides the raw topic's partitions among them. SIGTERM ends it after the
batch in hand.
"""


class Command(OutboxCommand):
    help = "Turn the outbox rows that Debezium read into Avro records of their topics."
    examples = EXAMPLE

    def handle(self, *_args: Any, **_options: Any) -> None:  # noqa: ANN401
        if settings.OUTBOX_TRANSPORT != "debezium":
            raise CommandError(f"{settings.SERVICE_NAME} sends its events by relay_outbox.")
        run_until_signalled(build_raw_worker(), gauges=store_gauges(set_gauges))
