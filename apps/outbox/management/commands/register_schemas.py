from __future__ import annotations

from contextlib import closing
from typing import Any

from confluent_kafka.schema_registry.error import SchemaRegistryError
from django.core.management.base import CommandError, CommandParser

from ...registration import COMPATIBILITY, NotRegistered, Plan, Step, carry_out, plan
from ...registry import Registry
from ..base import OutboxCommand

EXAMPLE = """\
examples:
  manage.py register_schemas           register what is new
  manage.py register_schemas --check   change nothing; fail if anything is new or refused

Each schema belongs to the topic of its namespace (OUTBOX_TOPICS). A subject is made FULL_TRANSITIVE
before anything is registered: only optional fields with defaults may come or go.
"""
MARKS = {Step.UNCHANGED: " ", Step.NEW: "+", Step.NEW_VERSION: "~", Step.INCOMPATIBLE: "!"}


class Command(OutboxCommand):
    help = "Register the Avro schemas of AVRO_DIR, and print what is done."
    examples = EXAMPLE

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="print the plan, change nothing")

    def handle(self, *_args: Any, check: bool, **_options: Any) -> None:  # noqa: ANN401
        with closing(Registry.from_settings()) as registry:
            self._register(registry, check=check)

    def _register(self, registry: Registry, *, check: bool) -> None:
        plans = plan(registry)
        for planned in plans:
            self._print(planned)
        refused = [planned for planned in plans if planned.step == Step.INCOMPATIBLE]
        if refused:
            raise CommandError(
                f"{len(refused)} of {len(plans)} schemas are incompatible, nothing was registered. "
                "A breaking change is a new type (…V2) beside the old one."
            )
        open_plans = [planned for planned in plans if not planned.is_done]
        if check:
            if open_plans:
                raise CommandError(f"{len(open_plans)} of {len(plans)} schemas need registering.")
        else:
            self._carry_out(registry, open_plans)
        self.stdout.write(self.style.SUCCESS(f"{len(plans)} schemas are registered."))

    def _carry_out(self, registry: Registry, plans: list[Plan]) -> None:
        for planned in plans:
            try:
                schema_id = carry_out(registry, planned)
            except (NotRegistered, SchemaRegistryError) as exc:
                raise CommandError(f"{planned.subject}: {exc}") from exc
            self.stdout.write(f"  {planned.subject}: id {schema_id}")

    def _print(self, planned: Plan) -> None:
        level = "" if planned.compatibility == COMPATIBILITY else f", becomes {COMPATIBILITY}"
        self.stdout.write(f"{MARKS[planned.step]} {planned.subject}: {planned.step}{level}")
        for reason in planned.reasons:
            self.stdout.write(f"    {reason}")
