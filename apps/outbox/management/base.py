"""What the outbox's commands share: examples in their help, and an outage said in one line."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from collections.abc import Iterator
from typing import Any, ClassVar

from django.core.management.base import (
    BaseCommand,
    CommandError,
    CommandParser,
    DjangoHelpFormatter,
)

from ..failures import is_outage

LONGEST = 300
SERVERS = (
    ("pymongo", "MongoDB"),
    ("psycopg", "PostgreSQL"),
    ("schema_registry", "The schema registry"),
    ("cimpl", "Kafka"),
    ("confluent_kafka", "Kafka"),
    ("django.db", "The database"),
    ("httpx", "A server over HTTP"),
)


class HelpFormatter(DjangoHelpFormatter, RawDescriptionHelpFormatter):
    """Keeps the line breaks of a command's description and examples."""


class OutboxCommand(BaseCommand):
    """A command whose help ends with `examples`, and that says shortly which server is away."""

    examples: ClassVar[str] = ""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:  # noqa: ANN401
        kwargs |= {"formatter_class": HelpFormatter, "epilog": self.examples}
        return super().create_parser(prog_name, subcommand, **kwargs)

    def execute(self, *args: Any, **options: Any) -> str | None:  # noqa: ANN401
        try:
            return super().execute(*args, **options)
        except Exception as exc:
            # A server that is away says so by many classes. A fault of ours keeps its traceback.
            if isinstance(exc, CommandError) or not is_outage(exc):
                raise
            raise CommandError(outage_text(exc)) from exc


def outage_text(exc: BaseException) -> str:
    """Say in one line which server is away, by the deepest cause that tells its address."""
    *_, root = _causes(exc)
    name = next((server for part, server in SERVERS if part in type(root).__module__), "A server")
    said = " ".join(str(root).split()) or type(root).__name__
    return f"{name} does not answer: {said[:LONGEST]}"


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__
