from __future__ import annotations

import getpass
import re
from argparse import ArgumentTypeError
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser

from ... import display, pruning
from ...conf import settings
from ...pruning import Chunk, TooSoon
from ..base import OutboxCommand

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Command(OutboxCommand):
    help = "Remove published events, old notes of received events and decided dead letters."
    examples = """\
examples:
  manage.py prune_outbox                       by OUTBOX_RETENTION_SECONDS
  manage.py prune_outbox --older-than 30d --dry-run

An event that was not published is never removed, whatever its age; one that change data capture
reads goes only when the slot guard has seen it on the raw topic. Notes of received events go by
INBOX_RETENTION_SECONDS. Interrupting it is harmless: it goes on where rows are left. Run it daily.
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than",
            type=_age,
            default=timedelta(seconds=settings.OUTBOX_RETENTION_SECONDS),
            metavar="AGE",
            help="such as 7d, 12h or 90m (%(default)s)",
        )
        parser.add_argument(
            "--batch", type=int, default=5000, metavar="N", help="rows a statement (%(default)s)"
        )
        parser.add_argument("--dry-run", action="store_true", help="only count what would go")

    def handle(self, *_args: Any, **options: Any) -> None:  # noqa: ANN401
        age, batch, dry_run = options["older_than"], options["batch"], options["dry_run"]
        if batch < 1:
            raise CommandError("--batch is at least 1.")
        verb = "would go" if dry_run else "removed"
        try:
            events = pruning.prune_events(age, batch=batch, by=getpass.getuser(), dry_run=dry_run)
            self._follow(f"events older than {display.duration(age.total_seconds())}", verb, events)
            letters = pruning.prune_letters(age, dry_run=dry_run)
            self.stdout.write(f"{letters:,} decided dead letters {verb}.")
            if group := settings.CONSUMER_GROUP:
                notes = pruning.prune_inbox(group, batch=batch, dry_run=dry_run)
                self._follow(f"notes of {group}", verb, notes)
        except TooSoon as exc:
            raise CommandError(str(exc)) from exc

    def _follow(self, what: str, verb: str, chunks: Iterable[Chunk]) -> None:
        """Say how far it is after each chunk that something was removed from."""
        total = 0
        for chunk in chunks:
            total += chunk.removed
            if chunk.removed:
                self.stdout.write(f"  {total:,} {what} {verb}, up to {chunk.upto}")
        self.stdout.write(f"{total:,} {what} {verb}.")


def _age(text: str) -> timedelta:
    matched = re.fullmatch(r"(\d+)([smhd])", text)
    if matched is None:
        raise ArgumentTypeError(f"{text!r} is no age: write 7d, 12h, 90m or 3600s.")
    return timedelta(seconds=int(matched[1]) * UNITS[matched[2]])
