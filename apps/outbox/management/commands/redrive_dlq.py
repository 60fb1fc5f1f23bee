from __future__ import annotations

import getpass
import uuid
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.outbox import dead_letters, display, kafka
from apps.outbox.redrive import decide_all
from apps.outbox.worker import HelpFormatter

EXAMPLE = """\
examples:
  manage.py redrive_dlq --list
  manage.py redrive_dlq --topic ticketing.orders --kind handler --dry-run
  manage.py redrive_dlq --all
  manage.py redrive_dlq --id 0d3a7f52-9f0e-5b0c-8a1d-3f6f0c9f2b11 --discard --reason "A test"

Replaying twice is harmless: each event takes effect once.
"""


class Command(BaseCommand):
    help = "Show this service's dead letters, hand them to their readers again, or discard them."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:  # noqa: ANN401
        kwargs |= {"formatter_class": HelpFormatter, "epilog": EXAMPLE}
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_argument_group("which of the open dead letters")
        which.add_argument("--topic", default="", help="those of this topic")
        which.add_argument("--group", default="", help="those of this consumer group")
        which.add_argument("--kind", default="", help="those with this kind of error")
        which.add_argument("--id", type=uuid.UUID, action="append", default=[], help="this one")
        which.add_argument("--all", action="store_true", help="all of them")
        what = parser.add_argument_group("what to do (they are replayed if nothing else is said)")
        what.add_argument("--list", action="store_true", help="only show them")
        what.add_argument("--dry-run", action="store_true", help="say what would be done")
        what.add_argument("--discard", action="store_true", help="give them up, with --reason")
        what.add_argument("--reason", default="", help="why; kept with the dead letter")
        what.add_argument("--by", default=getpass.getuser(), help="who does it (%(default)s)")

    def handle(self, *_args: Any, **options: Any) -> None:  # noqa: ANN401
        which = {name: options[name] for name in ("topic", "group", "kind")}
        if not (options["list"] or options["all"] or options["id"] or any(which.values())):
            raise CommandError("Say which: --topic, --group, --kind, --id or --all. Or --list.")
        letters = list(dead_letters.select(**which, ids=tuple(options["id"])))
        self.stdout.write(display.letters_table(letters))
        if options["list"] or not letters:
            return
        action = "discard" if options["discard"] else "replay"
        if options["dry_run"]:
            self.stdout.write(f"Dry run: would {action} {len(letters)} dead letter(s).")
            return
        by, reason = options["by"], options["reason"]
        sender = kafka.Sender(timeout=10.0)
        decide = (
            partial(dead_letters.discard, by=by, reason=reason)
            if options["discard"]
            else partial(dead_letters.replay, send=sender.send_one, by=by, note=reason)
        )
        decided, refusals = decide_all(letters, decide)
        sender.close()
        self.stdout.write(f"{len(decided)} of {len(letters)}: {action} done.")
        if refusals:
            raise CommandError("\n".join(refusals))
