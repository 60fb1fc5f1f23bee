from __future__ import annotations

import getpass
import time
from contextlib import closing
from typing import Any

from django.core.management.base import CommandError, CommandParser

from ... import rebuilding
from ...codec import Codec
from ...conf import settings
from ...registry import Registry
from ...rereading import NoSuchTopic
from ..base import OutboxCommand

ROUNDS = 5
MOST_SHOWN = 50


class Command(OutboxCommand):
    help = "Build a read model again from its topics, and compare or mend the live one."
    examples = """\
examples:
  manage.py rebuild tickets            compare; fails if a row differs
  manage.py rebuild tickets --apply    then make each differing row what its events say

READ_MODELS names them. What differs is looked at again after some seconds, since the consumer may
just be behind: let it run meanwhile. The rows are held in memory. Records that cannot be read are
left out and shown; a row of whose key there is one is not mended.
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="a name of READ_MODELS")
        parser.add_argument("--apply", action="store_true", help="mend what differs")
        parser.add_argument(
            "--wait",
            type=float,
            default=2.0,
            metavar="S",
            help="before looking again (%(default)s)",
        )
        parser.add_argument("--by", default=getpass.getuser(), help="who does it (%(default)s)")

    def handle(self, *_args: Any, name: str, **options: Any) -> None:  # noqa: ANN401
        if name not in settings.READ_MODELS:
            known = ", ".join(settings.READ_MODELS) or "none"
            raise CommandError(f"There is no read model {name}. READ_MODELS has: {known}.")
        model = rebuilding.read_model(name)
        with closing(Codec(Registry.from_settings())) as codec:
            try:
                found = rebuilding.compare(
                    model, codec, rounds=ROUNDS, pause=lambda: time.sleep(options["wait"])
                )
            except NoSuchTopic as exc:
                raise CommandError(str(exc)) from exc
        self.stdout.write(f"rows     {found.rows:,}")
        self.stdout.write(f"rebuilt  {found.rebuilt_hash}")
        self.stdout.write(f"live     {found.live_hash}")
        for each in found.left_out[:MOST_SHOWN]:
            self.stdout.write(self.style.WARNING(f"left out {each}"))
        for difference in found.differences[:MOST_SHOWN]:
            self.stdout.write(f"  {difference}")
        if not found.differences:
            self.stdout.write(self.style.SUCCESS(f"{name} is what its events say."))
            return
        if not options["apply"]:
            raise CommandError(f"{len(found.differences)} row(s) differ. Mend them with --apply.")
        for difference in found.to_mend:
            rebuilding.repair(name, model, difference, by=options["by"])
        self.stdout.write(self.style.SUCCESS(f"{len(found.to_mend)} row(s) mended."))
        if unclear := len(found.differences) - len(found.to_mend):
            raise CommandError(
                f"{unclear} row(s) differ of which a record was left out, and stay as they are."
            )
