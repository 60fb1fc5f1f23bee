from __future__ import annotations

import sys
from typing import Any

import httpx
from django.core.management.base import CommandError, CommandParser

from ... import recovery, slot_guard
from ...conf import settings
from ...connector import (
    Connect,
    ConnectorFailed,
    configuration,
    connect_from_settings,
    hand_to_relay,
    prepare,
    slot_name,
)
from ...lint import lint
from ...models import OutboxEvent
from ..base import OutboxCommand

EXAMPLE = """\
example:
  manage.py apply_connector

It makes the publication and the replication slot first, so that no row is missed whenever the
connector starts. Rows from before the slot are sent by a relay, here and now. Running it again
changes nothing.

  manage.py apply_connector --check

compares Connect and PostgreSQL with what must be, changes nothing, and fails if they differ.
"""
DRAIN_SECONDS = 300.0


class Command(OutboxCommand):
    help = "Let Debezium read this service's outbox, and wait until it does."
    examples = EXAMPLE

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="compare, and change nothing")

    def handle(self, *_args: Any, **options: Any) -> None:  # noqa: ANN401
        if settings.OUTBOX_TRANSPORT != "debezium":
            raise CommandError(
                f"{settings.SERVICE_NAME} has OUTBOX_TRANSPORT={settings.OUTBOX_TRANSPORT}: "
                "no connector is wanted."
            )
        connect = connect_from_settings()
        try:
            if options["check"]:
                self._check(connect)
            else:
                self._apply(connect)
        except httpx.HTTPError as exc:
            raise CommandError(f"Connect at {settings.CONNECT_URL}: {exc}") from exc
        except ConnectorFailed as exc:
            raise CommandError(f"{settings.OUTBOX_CONNECTOR} does not run. {exc}") from exc
        finally:
            connect.close()

    def _check(self, connect: Connect) -> None:
        name = settings.OUTBOX_CONNECTOR
        findings = lint(connect, configuration(name, settings.OUTBOX_RAW_TOPIC))
        for finding in findings:
            self.stdout.write(self.style.ERROR(str(finding)))
        if findings:
            sys.exit(1)
        self.stdout.write(self.style.SUCCESS(f"{name}: all is as it must be."))

    def _apply(self, connect: Connect) -> None:
        name = settings.OUTBOX_CONNECTOR
        wanted = configuration(name, settings.OUTBOX_RAW_TOPIC)
        report = slot_guard.observe()
        if report and report.fault:
            raise CommandError(f"{report.fault} Run: manage.py guard_slot --recover")
        is_new = prepare(name)
        hand_to_relay(name)
        self._drain()
        if is_new:
            self.stdout.write(f"{name}: replication slot made.")
            slot_guard.adopt(slot_name(name))
        # A stopped one may be what somebody left who died on the way here: that way is gone again.
        if is_new or connect.is_stopped():
            connect.begin_anew(wanted)
            changed = True
        else:
            changed = connect.apply(wanted)
        self.stdout.write(f"{name}: configuration {'applied' if changed else 'unchanged'}.")
        connect.await_running()
        self.stdout.write(self.style.SUCCESS(f"{name}: running."))

    def _drain(self) -> None:
        """Send what waits for a relay: no slot kept it, or the service has just left the relay."""
        if rows := OutboxEvent.objects.filter(state=OutboxEvent.State.PENDING).count():
            self.stdout.write(f"{rows} events wait that no slot kept: sending them.")
        try:
            recovery.drain(DRAIN_SECONDS)
        except recovery.NotInTime as exc:
            raise CommandError(str(exc)) from exc
