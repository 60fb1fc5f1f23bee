from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser

from apps.outbox import display
from apps.outbox.management.arguments import instant
from apps.outbox.management.base import OutboxCommand
from apps.payments.gateway import ProviderRefused, ProviderUnsure, provider
from apps.payments.reconciliation.difference import Difference
from apps.payments.reconciliation.running import (
    GRACE,
    LOOK_AGAIN_SECONDS,
    Outcome,
    Reconciler,
)

HEADS = ("what", "order", "subject", "detail", "what to do")
DIFFERENT = 1
CANNOT_TELL = 2


class Command(OutboxCommand):
    help = "Compare the provider, payments, orders and tickets, and show what differs."
    examples = """\
examples:
  manage.py reconcile_payments                      everything there ever was
  manage.py reconcile_payments --since 2026-03-01   payments made since then
  manage.py reconcile_payments --apply              mend what asking the provider mends
  manage.py reconcile_payments --json               for a program

It reads the provider's lists, its own database, and the topics of orders and tickets to their ends.
What has moved within the last two minutes is left alone, and what differs is looked at twice. The
exit status is 0 when nothing differs, 1 when something is left, 2 when it could not be told.
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--since", type=instant, metavar="TIME", help="payments from then on")
        parser.add_argument("--apply", action="store_true", help="mend what is safe to mend")
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.add_argument(
            "--grace",
            type=_seconds,
            default=GRACE.total_seconds(),
            metavar="SECONDS",
            help="leave alone what has moved within so many (default: %(default)s)",
        )

    def handle(self, *_args: Any, **options: Any) -> None:  # noqa: ANN401
        reconciler = Reconciler(
            gateway=provider(),
            grace=timedelta(seconds=options["grace"]),
            # Within no grace, there is nothing that another look would wait for.
            pause=lambda: time.sleep(min(LOOK_AGAIN_SECONDS, options["grace"])),
            say=self._say,
        )
        try:
            outcome = reconciler.run(options["since"])
            if options["apply"] and (repaired := reconciler.repair(outcome)):
                self._say(f"asked the provider about {repaired}: comparing again")
                outcome = reconciler.run(options["since"])
        except (ProviderUnsure, ProviderRefused) as exc:
            raise CommandError(
                f"The provider does not answer: {exc}", returncode=CANNOT_TELL
            ) from exc
        text = _json(outcome) if options["json"] else _text(outcome)
        self.stdout.write(text)
        if outcome.differences:
            sys.exit(DIFFERENT)

    def execute(self, *args: Any, **options: Any) -> str | None:  # noqa: ANN401
        try:
            return super().execute(*args, **options)
        except CommandError as exc:
            exc.returncode = CANNOT_TELL
            raise

    def _say(self, words: str) -> None:
        self.stderr.write(f"{words} …")


def _text(outcome: Outcome) -> str:
    seen = (
        f"{outcome.intents:,} payment intents, {outcome.orders:,} orders and "
        f"{outcome.tickets:,} tickets were compared."
    )
    if not outcome.differences:
        return f"{seen} Nothing differs."
    rows = [_row(each) for each in outcome.differences]
    return f"{seen}\n\n{display.table(HEADS, rows)}\n\n{len(rows)} difference(s)."


def _row(each: Difference) -> tuple[str, ...]:
    cure = "--apply" if each.kind.is_repaired_by_asking else "see docs/operations.md"
    return each.kind.value, each.order_id or "-", each.subject, each.detail, cure


def _json(outcome: Outcome) -> str:
    return json.dumps(
        vars(outcome)
        | {
            "differences": [
                vars(each) | {"repairable": each.kind.is_repaired_by_asking}
                for each in outcome.differences
            ]
        }
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError as exc:
        raise ArgumentTypeError(f"{text!r} is no number of seconds: write 120.") from exc
    if not 0 <= seconds < float("inf"):
        raise ArgumentTypeError(f"{text!r} must be 0 or more.")
    return seconds
