from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from ... import auditing, display
from ...audit import Balance
from ..arguments import instant
from ..base import OutboxCommand


class Command(OutboxCommand):
    help = "Prove that every committed event was published, is a dead letter or waits."
    examples = """\
examples:
  manage.py audit_outbox                       all topics, from their first record
  manage.py audit_outbox --since 2026-03-01    events from then on
  manage.py audit_outbox --at-rest             nothing is on its way: what is absent is lost
  manage.py audit_outbox --json                for a program

It reads the rows and then the topics beside all consumers, and fails if anything is lost, invented,
out of order or without its dead letter. Repetitions are counted: consumers ignore them. Ten million
events take some 300 MB. Rows that prune_outbox removed cannot be missed.
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--topic", action="append", default=[], help="this one alone")
        parser.add_argument("--since", type=instant, metavar="TIME", help="events from then on")
        parser.add_argument("--at-rest", action="store_true", help="no worker has work left")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_args: Any, **options: Any) -> None:  # noqa: ANN401
        topics, since = tuple(options["topic"]), options["since"]
        balance = auditing.run(topics=topics, since=since, at_rest=options["at_rest"])
        if options["json"]:
            found = {"violations": [vars(each) for each in balance.violations]}
            facts = vars(balance) | {"counts": dict(balance.counts)} | found
            self.stdout.write(json.dumps(facts))
        else:
            self.stdout.write(_text(balance))
        if total := balance.counts.total():
            raise CommandError(f"{total} violation(s).")


def _text(balance: Balance) -> str:
    accounted = (
        ("committed", balance.committed),
        ("= published", balance.published),
        ("+ dead", balance.dead),
        ("+ waiting", balance.pending),
        ("+ on the way", balance.on_the_way),
    )
    topics = (
        ("records on the topics", balance.on_topics),
        ("repeated", balance.repeated),
        ("newer than this audit", balance.newer),
        ("whose rows were pruned", balance.pruned),
    )
    faults = [f"{count} x {kind.value}" for kind, count in sorted(balance.counts.items())]
    faults += [f"  {each.kind.value}: {each.subject}" for each in balance.violations]
    tables = [
        display.table(("", ""), [(name, f"{count:,}") for name, count in part]).strip("\n")
        for part in (accounted, topics)
    ]
    return "\n\n".join([*tables, "\n".join(faults) or "Every event is accounted for."])
