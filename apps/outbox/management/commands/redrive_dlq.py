from __future__ import annotations

import getpass
import time
import uuid
from contextlib import closing
from functools import partial
from typing import Any

from django.core.management.base import CommandError, CommandParser

from ... import dead_letters, display, kafka
from ...models import DeadLetter
from ...redrive import decide_all
from ..arguments import instant
from ..base import OutboxCommand

PROGRESS_EVERY = 100
SEND_SECONDS = 10.0


class Command(OutboxCommand):
    help = "Show this service's dead letters, hand them to their readers again, or discard them."
    examples = """\
examples:
  manage.py redrive_dlq --list
  manage.py redrive_dlq --topic cinema.seats --kind handler --since 2026-03-01 --dry-run
  manage.py redrive_dlq --all --rate 50
  manage.py redrive_dlq --id 0d3a7f52-9f0e-5b0c-8a1d-3f6f0c9f2b11 --discard --reason "A test"

Letters of a key are replayed in their order, and none before an older one of its key that was not
decided upon (--force). Replaying twice is harmless: each event takes effect once. Who did what is
kept. Interrupting it is harmless, too: what was not replayed stays open.
"""

    def add_arguments(self, parser: CommandParser) -> None:
        which = parser.add_argument_group("which of the open dead letters")
        which.add_argument("--topic", default="", help="those of this topic")
        which.add_argument("--group", default="", help="those of this consumer group")
        which.add_argument("--kind", default="", help="those with this kind of error")
        which.add_argument("--key", default="", help="those of this key")
        which.add_argument("--since", type=instant, metavar="TIME", help="failed then or later")
        which.add_argument("--until", type=instant, metavar="TIME", help="failed before then")
        which.add_argument("--id", type=uuid.UUID, action="append", default=[], help="this one")
        which.add_argument("--all", action="store_true", help="all of them")
        what = parser.add_argument_group("what to do (they are replayed if nothing else is said)")
        what.add_argument("--list", action="store_true", help="only show them")
        what.add_argument("--dry-run", action="store_true", help="say what would be done")
        what.add_argument("--rate", type=float, metavar="N", help="at most N a second")
        what.add_argument("--force", action="store_true", help="replay before older ones, too")
        what.add_argument("--discard", action="store_true", help="give them up, with --reason")
        what.add_argument("--reason", default="", help="why; kept with the dead letter")
        what.add_argument("--by", default=getpass.getuser(), help="who does it (%(default)s)")

    def handle(self, *_args: Any, **options: Any) -> None:  # noqa: ANN401
        names = ("topic", "group", "kind", "key", "since", "until")
        which = {name: options[name] for name in names}
        if not (options["list"] or options["all"] or options["id"] or any(which.values())):
            raise CommandError(
                f"Say which: {', '.join(f'--{name}' for name in names)}, --id, --all."
            )
        if options["rate"] is not None and options["rate"] <= 0:
            raise CommandError("--rate is more than 0.")
        found = dead_letters.select(**which, ids=tuple(options["id"]))
        letters = list(found.defer("value", "headers"))
        self.stdout.write(display.letters_table(letters))
        if options["list"] or not letters:
            return
        action = "discard" if options["discard"] else "replay"
        if options["dry_run"]:
            self.stdout.write(f"Dry run: would {action} {len(letters)} dead letter(s).")
            return
        self._decide(letters, action, options)

    def _decide(self, letters: list[DeadLetter], action: str, options: dict[str, Any]) -> None:
        by, reason = options["by"], options["reason"]
        done, refusals = 0, []
        with closing(kafka.Sender(timeout=SEND_SECONDS)) as sender:
            decide = (
                partial(dead_letters.discard, by=by, reason=reason)
                if options["discard"]
                else partial(dead_letters.replay, send=sender.send_one, by=by, note=reason)
            )
            keep_order = not (options["discard"] or options["force"])
            try:
                for decision in decide_all(letters, decide, keep_order=keep_order):
                    done += not decision.refusal
                    refusals += [decision.refusal] if decision.refusal else []
                    if (done + len(refusals)) % PROGRESS_EVERY == 0:
                        self.stdout.write(f"  {done + len(refusals)} of {len(letters)}")
                    if options["rate"]:
                        time.sleep(1 / options["rate"])
            finally:
                self.stdout.write(f"{done} of {len(letters)}: {action} done.")
        if refusals:
            raise CommandError("\n".join(refusals))
