from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.module_loading import import_string

from apps.outbox import kafka
from apps.outbox.codec import Codec
from apps.outbox.consumer import CLIENT_OPTIONS, Consumer
from apps.outbox.lanes import Patience
from apps.outbox.registry import Registry
from apps.outbox.worker import HelpFormatter, liveness, run_until_signalled

EXAMPLE = """\
example:
  DJANGO_SETTINGS_MODULE=ticketing.settings.tickets manage.py consume_events

Which topics are read, EVENT_HANDLERS says. SIGTERM ends it after the message in hand.
"""


class Command(BaseCommand):
    help = "Read this service's topics and let each event take effect exactly once."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:  # noqa: ANN401
        kwargs |= {"formatter_class": HelpFormatter, "epilog": EXAMPLE}
        return super().create_parser(prog_name, subcommand, **kwargs)

    def handle(self, *_args: Any, **_options: Any) -> None:  # noqa: ANN401
        if not settings.EVENT_HANDLERS:
            raise CommandError(f"{settings.SERVICE_NAME} reads no events: EVENT_HANDLERS is empty.")
        group = settings.CONSUMER_GROUP
        consumer = Consumer(
            group,
            import_string(settings.EVENT_HANDLERS),
            client=kafka.consumer(group, **CLIENT_OPTIONS),
            decoder=Codec(Registry.from_settings()),
            send=kafka.Sender(timeout=5.0).send_one,
            patience=Patience(
                attempts=settings.CONSUMER_ATTEMPTS, limit=settings.CONSUMER_DLQ_LIMIT
            ),
            alive=liveness(),
        )
        run_until_signalled(consumer)
