from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from apps.auth.mail import queueing
from apps.outbox.management.base import OutboxCommand

EXAMPLE = """\
examples:
  manage.py prune_mails
  manage.py prune_mails --older-than-days 30

A mail that may still be sent is never removed. Run it daily.
"""


class Command(OutboxCommand):
    help = "Remove mails of long ago: they hold addresses, and who bought what."
    examples = EXAMPLE

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than-days",
            type=int,
            default=365,
            metavar="DAYS",
            help="by when it was queued (%(default)s)",
        )

    def handle(self, *_args: Any, **options: Any) -> None:  # noqa: ANN401
        age = timedelta(days=options["older_than_days"])
        removed = queueing.prune(older_than=age, now=timezone.now())
        self.stdout.write(f"Removed: {removed}")
