from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from ... import rollout
from ..base import OutboxCommand

EXAMPLE = """\
examples:
  manage.py await_rollout                  until the database has this version's migrations
  manage.py await_rollout --events         and Kafka its topics, the registry its schemas
  manage.py await_rollout --timeout 0      look once; status 1 if anything is missing

For an init container, or before any start of a process: it changes nothing, and waits for servers
that are away. A database, topics and schemas of a newer version are no reason to wait.
"""
TIMEOUT_SECONDS = 600.0


class Command(OutboxCommand):
    help = "Wait until what the processes of this version need has been rolled out."
    examples = EXAMPLE

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--events", action="store_true", help="topics and schemas, too")
        parser.add_argument(
            "--timeout",
            type=float,
            default=TIMEOUT_SECONDS,
            metavar="SECONDS",
            help="how long to wait at most (%(default)s)",
        )

    def handle(self, *_args: Any, events: bool, timeout: float, **_options: Any) -> None:  # noqa: ANN401
        checks = [rollout.missing_migrations]
        if events:
            checks += [rollout.missing_topics, rollout.missing_schemas]
        try:
            rollout.await_all(checks, timeout=timeout, say=self.stdout.write)
        except rollout.NotReady as exc:
            raise CommandError(f"Not there after {timeout:g} s: {exc}.") from exc
        self.stdout.write(self.style.SUCCESS("All is there."))
