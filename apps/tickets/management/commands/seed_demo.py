"""Fill the market for a demonstration."""

from __future__ import annotations

from itertools import islice
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from apps.outbox.management.base import OutboxCommand
from apps.tickets import services
from apps.tickets.management.listings import demo_listings

BATCH = 50
MOST = 10_000
EXAMPLE = """\
examples:
  manage.py seed_demo
  manage.py seed_demo --count 500 --seller-id 6751c1f0a9d4e5b2c3f4a5b6
"""


class Command(OutboxCommand):
    help = (
        "List invented tickets for sale, each with its event in the outbox. Running it again adds "
        "only what is missing."
    )
    examples = EXAMPLE

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--count", type=int, default=320, help="how many (default 320)")
        parser.add_argument(
            "--seller-id",
            default=settings.DEMO_SELLER_ID,
            help="the account that sells some of them (default: DEMO_SELLER_ID, or nobody real)",
        )

    def handle(self, *, count: int, seller_id: str, **options: Any) -> None:  # noqa: ANN401, ARG002
        if not 1 <= count <= MOST:
            raise CommandError(f"--count must be from 1 to {MOST}, and is {count}.")
        listings = demo_listings(count, seller_id=seller_id, now=timezone.now())
        new = 0
        while batch := list(islice(listings, BATCH)):
            new += services.import_tickets(batch)
        self.stdout.write(
            self.style.SUCCESS(f"{new} of {count} demo tickets are new; the rest were there.")
        )
