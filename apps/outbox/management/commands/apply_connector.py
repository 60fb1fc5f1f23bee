from __future__ import annotations

import time
from typing import Any

import httpx
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.outbox.connector import (
    ConnectorFailed,
    configuration,
    connect_from_settings,
    hand_to_relay,
    prepare,
)
from apps.outbox.models import OutboxEvent
from apps.outbox.relay import build_relay
from apps.outbox.worker import HelpFormatter

EXAMPLE = """\
example:
  DJANGO_SETTINGS_MODULE=ticketing.settings.orders manage.py apply_connector

It makes the publication and the replication slot first, so that no row is missed whenever the
connector starts. Rows from before the slot are sent by a relay, here and now. Running it again
changes nothing.
"""
DRAIN_SECONDS = 300.0
PAUSE_SECONDS = 0.2


class Command(BaseCommand):
    help = "Let Debezium read this service's outbox, and wait until it does."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:  # noqa: ANN401
        kwargs |= {"formatter_class": HelpFormatter, "epilog": EXAMPLE}
        return super().create_parser(prog_name, subcommand, **kwargs)

    def handle(self, *_args: Any, **_options: Any) -> None:  # noqa: ANN401
        if settings.OUTBOX_TRANSPORT != "debezium":
            raise CommandError(
                f"{settings.SERVICE_NAME} has OUTBOX_TRANSPORT={settings.OUTBOX_TRANSPORT}: "
                "no connector is wanted."
            )
        name = settings.OUTBOX_CONNECTOR
        if prepare(name):
            self.stdout.write(f"{name}: replication slot made.")
        hand_to_relay(name)
        self._drain()
        connect = connect_from_settings()
        try:
            changed = connect.apply(configuration(name, settings.OUTBOX_RAW_TOPIC))
            self.stdout.write(f"{name}: configuration {'applied' if changed else 'unchanged'}.")
            connect.await_running()
        except httpx.HTTPError as exc:
            raise CommandError(f"Connect at {settings.CONNECT_URL}: {exc}") from exc
        except ConnectorFailed as exc:
            raise CommandError(f"{name} does not run. {exc}") from exc
        finally:
            connect.close()
        self.stdout.write(self.style.SUCCESS(f"{name}: running."))

    def _drain(self) -> None:
        """Send what waits for a relay: no slot kept it, or the service has just left the relay."""
        waiting = OutboxEvent.objects.filter(state=OutboxEvent.State.PENDING)
        if not (rows := waiting.count()):
            return
        self.stdout.write(f"{rows} events wait that no slot kept: sending them.")
        deadline = time.monotonic() + DRAIN_SECONDS
        relay = build_relay()
        try:
            while waiting.exists():
                if time.monotonic() > deadline:
                    raise CommandError(
                        f"After {DRAIN_SECONDS:.0f} s, {waiting.count()} still wait."
                    )
                if not relay.run_once():
                    time.sleep(PAUSE_SECONDS)
        finally:
            relay.close()
