from __future__ import annotations

import getpass
import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.core.errors import DomainError
from apps.outbox import dead_letters, display, kafka
from apps.outbox.models import DeadLetter
from apps.outbox.worker import HelpFormatter

EXAMPLE = """\
examples:
  manage.py redrive_dlq --list
  manage.py redrive_dlq --topic ticketing.orders --kind handler --dry-run
  manage.py redrive_dlq --all
  manage.py redrive_dlq --id 6b1f… --discard --reason "A test record, sent by hand"

Replaying twice is harmless: each event takes effect once.
"""


class Command(BaseCommand):
    help = "Show this service's dead letters, hand them to their readers again, or discard them."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:  # noqa: ANN401
        kwargs |= {"formatter_class": HelpFormatter, "epilog": EXAMPLE}
        return super().create_parser(prog_name, subcommand, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_argument_group("which")
        which.add_argument("--topic", default="", help="those of this topic")
        which.add_argument("--group", default="", help="those of this consumer group")
        which.add_argument("--kind", default="", help="those with this kind of error")
        which.add_argument("--id", type=uuid.UUID, action="append", default=[], help="this one")
        which.add_argument("--all", action="store_true", help="all that are open")
        what = parser.add_argument_group("what (they are replayed if nothing else is said)")
        what.add_argument("--list", action="store_true", help="only show them")
        what.add_argument("--dry-run", action="store_true", help="say what would be done")
        what.add_argument("--discard", action="store_true", help="give them up, with --reason")
        what.add_argument("--reason", default="", help="why; kept with the dead letter")
        what.add_argument("--by", default=getpass.getuser(), help="who does it (%(default)s)")

    def handle(self, *_args: Any, **options: Any) -> None:  # noqa: ANN401
        filters = {name: options[name] for name in ("topic", "group", "kind")}
        letters = list(dead_letters.select(**filters, ids=tuple(options["id"])))
        if not (options["list"] or options["all"] or options["id"] or any(filters.values())):
            raise CommandError("Say which: --topic, --group, --kind, --id or --all. Or --list.")
        if options["discard"] and not options["reason"].strip():
            raise CommandError('Say why they may be discarded: --reason "…".')
        self.stdout.write(display.letters_table(letters))
        if not letters or options["list"]:
            return
        action = "discard" if options["discard"] else "replay"
        if options["dry_run"]:
            self.stdout.write(f"Dry run: would {action} {len(letters)} dead letter(s).")
            return
        failed = self._decide(letters, options)
        self.stdout.write(f"{len(letters) - failed} of {len(letters)}: {action} done.")
        if failed:
            raise CommandError(f"{failed} dead letter(s) were left as they are.")

    def _decide(self, letters: list[DeadLetter], options: dict[str, Any]) -> int:
        sender = kafka.Sender(timeout=10.0)
        failed = 0
        try:
            for letter in letters:
                try:
                    if options["discard"]:
                        dead_letters.discard(letter.pk, by=options["by"], reason=options["reason"])
                    else:
                        dead_letters.replay(
                            letter.pk, sender.send_one, by=options["by"], note=options["reason"]
                        )
                except DomainError as exc:
                    self.stderr.write(exc.message)
                    failed += 1
        finally:
            sender.close()
        return failed
