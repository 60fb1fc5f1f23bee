from __future__ import annotations

import dataclasses
import time
from typing import Any

import orjson
from django.core.management.base import CommandError, CommandParser

from ... import report, status
from ...status import Status
from ..base import OutboxCommand


class Command(OutboxCommand):
    help = "Say how sending and receiving stand."
    examples = """\
examples:
  manage.py outbox_status                 what waits, relays, lag, parked records, dead letters
  manage.py outbox_status --blocked       and every key whose first row cannot be sent
  manage.py outbox_status --watch 2       again every two seconds, until Ctrl+C
  manage.py outbox_status --json          for a program
  manage.py outbox_status --max-age 60 --max-dead 0     for monitoring: fails beyond these

It reads no published row, however many there are. With a threshold given, that Kafka is away
counts as beyond it.
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.add_argument("--blocked", action="store_true", help="list the blocked keys")
        parser.add_argument("--watch", type=float, metavar="S", help="repeat every S seconds")
        parser.add_argument(
            "--max-age", type=float, metavar="S", help="fail if a row has waited longer than this"
        )
        parser.add_argument(
            "--max-dead", type=int, metavar="N", help="fail if there are more dead letters"
        )

    def handle(self, *_args: Any, **options: Any) -> None:  # noqa: ANN401
        now = self._show(options)
        try:
            while options["watch"]:
                time.sleep(options["watch"])
                self.stdout.write("")
                now = self._show(options)
        except KeyboardInterrupt:
            return
        if faults := _beyond(now, options["max_age"], options["max_dead"]):
            raise CommandError(" ".join(faults))

    def _show(self, options: dict[str, Any]) -> Status:
        now = status.collect()
        if options["json"]:
            figures = dataclasses.asdict(now) | {"oldest_age": now.oldest_age, "dead": now.dead}
            self.stdout.write(orjson.dumps(figures).decode())
        else:
            self.stdout.write(report.status_text(now, with_blocked=options["blocked"]))
        return now


def _beyond(now: Status, max_age: float | None, max_dead: int | None) -> list[str]:
    faults = []
    if max_age is not None and now.oldest_age > max_age:
        faults.append(f"A row has waited for {now.oldest_age:.0f} s, more than {max_age:g} s.")
    if max_dead is not None and now.dead > max_dead:
        faults.append(f"{now.dead} dead letters, more than {max_dead}.")
    if faults or (max_age, max_dead) != (None, None):
        faults += [f"Kafka: {now.kafka_fault}."] if now.kafka_fault else []
        faults += [f"Replication slot: {now.slot_fault}"] if now.slot_fault else []
    return faults
