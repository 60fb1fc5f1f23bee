from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaException
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...kafka import admin
from ...provisioning import Change, create_topics, wanted_topics
from ...worker import HelpFormatter

EXAMPLE = """\
example:
  manage.py create_topics

OUTBOX_TOPICS names the topics and OUTBOX_CONSUMERS who reads them, from which follow the topics for
dead letters and retries. Partitions are added where there are too few (which moves keys to other
partitions: drain the consumers first); nothing is ever removed.
"""


class Command(BaseCommand):
    help = "Create the topics of the whole system that do not exist yet."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:  # noqa: ANN401
        kwargs |= {"formatter_class": HelpFormatter, "epilog": EXAMPLE}
        return super().create_parser(prog_name, subcommand, **kwargs)

    def handle(self, *_args: Any, **_options: Any) -> None:  # noqa: ANN401
        try:
            outcomes = create_topics(admin(), wanted_topics())
        except KafkaException as exc:
            raise CommandError(f"Kafka: {exc}") from exc
        for outcome in outcomes:
            mark = " " if outcome.change == Change.NONE else "+"
            topic = outcome.topic
            self.stdout.write(f"{mark} {topic.name} ({topic.partitions}): {outcome.change}")
        self.stdout.write(self.style.SUCCESS(f"{len(outcomes)} topics exist."))
