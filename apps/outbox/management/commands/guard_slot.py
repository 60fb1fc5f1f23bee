from __future__ import annotations

import sys
import time
from typing import Any

import httpx
from django.core.management.base import CommandError, CommandParser

from ... import recovery, slot_guard
from ...conf import settings
from ...connector import ConnectorFailed, connect_from_settings
from ...recovery import NotInTime
from ..base import OutboxCommand

FAULT = 2
EXAMPLE = """\
example:
  manage.py guard_slot                     what is known of the slot; status 2 if it has a fault
  manage.py guard_slot --watch 10          the same each ten seconds
  manage.py guard_slot --recover --by anna --note "disk was full"
      makes the slot anew, sends every row that it may have missed, and starts the connector
  manage.py guard_slot --accept-loss --by anna --note "tested by hand, nothing is missing"
      goes on with the slot as it is
"""


class Command(OutboxCommand):
    help = "Look at the replication slot that Debezium reads, and deal with one that was lost."
    examples = EXAMPLE

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--watch", type=float, metavar="SECONDS")
        what.add_argument("--recover", action="store_true")
        what.add_argument("--accept-loss", action="store_true")
        parser.add_argument("--by", default="", help="who decides this")
        parser.add_argument("--note", default="", help="why")

    def handle(self, *_args: Any, **options: Any) -> None:  # noqa: ANN401
        if settings.OUTBOX_TRANSPORT != "debezium":
            raise CommandError(f"{settings.SERVICE_NAME} has no slot: it sends by relay_outbox.")
        if (options["recover"] or options["accept_loss"]) and not (
            options["by"] and options["note"]
        ):
            raise CommandError("Say who decides this and why: --by NAME --note TEXT.")
        if options["recover"]:
            self._recover(options["by"], options["note"])
        elif options["accept_loss"]:
            recovery.accept_loss(by=options["by"], note=options["note"])
        report = self._report()
        while options["watch"]:
            time.sleep(options["watch"])
            report = self._report()
        if report and report.fault:
            sys.exit(FAULT)

    def _recover(self, by: str, note: str) -> None:
        connect = connect_from_settings()
        try:
            rows = recovery.recover(connect, by=by, note=note)
        except (ConnectorFailed, NotInTime, httpx.HTTPError) as exc:
            raise CommandError(f"{exc} Run it again; the fault stays until then.") from exc
        finally:
            connect.close()
        self.stdout.write(f"{rows} rows were sent by a relay.")

    def _report(self) -> slot_guard.SlotReport | None:
        report = slot_guard.observe()
        if report is None:
            return None
        self.stdout.write(
            f"{report.name}: {report.wal_status}, "
            f"{'read' if report.is_active else 'not read'} at the moment, "
            f"{report.lag_bytes if report.lag_bytes is not None else '?'} bytes behind, "
            f"confirmed until {report.confirmed_at or 'nobody knows'}"
        )
        if report.fault:
            self.stdout.write(self.style.ERROR(report.fault))
        return report
