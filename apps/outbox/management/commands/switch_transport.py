from __future__ import annotations

from typing import Any

import httpx
from django.core.management.base import CommandError, CommandParser

from ... import switching
from ...conf import settings
from ...connector import ConnectorFailed, connect_from_settings
from ...recovery import NotInTime
from ...switching import RelayRuns
from ..base import OutboxCommand

EXAMPLE = """\
example, from Debezium to the relay, while the service writes:
  1. restart the writers (web, consumers) with OUTBOX_TRANSPORT=relay, and start relay_outbox:
     it waits
  2. OUTBOX_TRANSPORT=relay manage.py switch_transport relay --by anna
  3. stop consume_raw_orders
and back:
  1. stop relay_outbox
  2. OUTBOX_TRANSPORT=debezium manage.py switch_transport debezium --by anna
  3. start consume_raw_orders, and restart the writers with OUTBOX_TRANSPORT=debezium
"""


class Command(OutboxCommand):
    help = "Change between Debezium and the relay without losing or reordering an event."
    examples = EXAMPLE

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("transport", choices=("relay", "debezium"))
        parser.add_argument("--by", required=True, help="who decides this")
        parser.add_argument("--note", default="", help="why")
        parser.add_argument("--timeout", type=float, default=switching.TIMEOUT_SECONDS)

    def handle(self, *_args: Any, **options: Any) -> None:  # noqa: ANN401
        transport, by, note = options["transport"], options["by"], options["note"]
        if transport != settings.OUTBOX_TRANSPORT:
            raise CommandError(
                f"Here OUTBOX_TRANSPORT is {settings.OUTBOX_TRANSPORT}; set it to {transport}."
            )
        connect = connect_from_settings()
        try:
            if transport == "relay":
                rows = switching.to_relay(connect, by=by, note=note, seconds=options["timeout"])
                self.stdout.write(f"{rows} rows that Debezium carried are marked. Relays go on.")
            else:
                rows = switching.to_debezium(connect, by=by, note=note, seconds=options["timeout"])
                self.stdout.write(f"The connector runs; {rows} rows that waited are its own now.")
        except (ConnectorFailed, NotInTime, RelayRuns, httpx.HTTPError) as exc:
            raise CommandError(str(exc)) from exc
        finally:
            connect.close()
