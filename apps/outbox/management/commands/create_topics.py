from __future__ import annotations

import sys
from typing import Any

from confluent_kafka import KafkaException
from django.core.management.base import CommandError, CommandParser

from ...kafka import admin
from ...provisioning import Change, create_topics, wanted_topics
from ..base import OutboxCommand

EXAMPLE = """\
examples:
  manage.py create_topics --check          what is to be done; status 1 if that is anything
  manage.py create_topics

OUTBOX_TOPICS names the topics and OUTBOX_CONSUMERS who reads them, from which follow the topics for
dead letters and retries. Partitions are added where there are too few (which moves keys to other
partitions: drain the consumers first), and retention is corrected; no topic is ever removed.
"""
DONE = frozenset({Change.NONE, Change.HAS_MORE})


class Command(OutboxCommand):
    help = "Create the topics of the whole system that do not exist yet."
    examples = EXAMPLE

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="say what is to be done, only")

    def handle(self, *_args: Any, **options: Any) -> None:  # noqa: ANN401
        is_check = options["check"]
        try:
            outcomes = create_topics(admin(), wanted_topics(), is_check=is_check)
        except KafkaException as exc:
            raise CommandError(f"Kafka: {exc}") from exc
        for outcome in outcomes:
            mark = " " if outcome.change in DONE else "+"
            topic = outcome.topic
            self.stdout.write(f"{mark} {topic.name} ({topic.partitions}): {outcome.change}")
        if is_check and any(outcome.change not in DONE for outcome in outcomes):
            self.stdout.write("This is only what would be done.")
            sys.exit(1)
        if not is_check:
            self.stdout.write(self.style.SUCCESS(f"{len(wanted_topics())} topics exist."))
