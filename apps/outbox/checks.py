"""Mistakes of configuration, found before the first message instead of by it."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections
from django.utils.module_loading import import_string, module_has_submodule
from pymongo.errors import PyMongoError

from .conf import settings
from .events import record_name
from .schemas import local_schemas

EVENT_ATTRIBUTES = ("topic", "namespace", "type", "aggregate_type")


@register()
def check_events(
    app_configs: Sequence[AppConfig] | None,
    **_: Any,  # noqa: ANN401
) -> list[CheckMessage]:
    """Every event that a service publishes or reads has a topic, and a schema with its fields."""
    configs = apps.get_app_configs() if app_configs is None else app_configs
    return [
        error for config in configs for event in declared_events(config) for error in _faults(event)
    ]


@register()
def check_handlers(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001
    **_: Any,  # noqa: ANN401
) -> list[CheckMessage]:
    """EVENT_HANDLERS is a table of functions, and its group's topics are declared."""
    path = settings.EVENT_HANDLERS
    if not path:
        return []
    try:
        handlers = import_string(path)
    except ImportError as exc:
        hint = "Set EVENT_HANDLERS to the dotted path of a table {event class: function}."
        return [Error(f"EVENT_HANDLERS cannot be imported: {exc}.", hint=hint, id="outbox.E003")]
    if not isinstance(handlers, dict) or not all(map(callable, handlers.values())):
        return [Error(f"{path} must be a dict of event class to function.", id="outbox.E004")]
    read = {event.topic for event in handlers}
    declared = set(settings.OUTBOX_CONSUMERS.get(settings.CONSUMER_GROUP, ()))
    if read == declared:
        return []
    return [
        Error(
            f"{path} reads {', '.join(sorted(read)) or 'nothing'}, and OUTBOX_CONSUMERS says of "
            f"{settings.CONSUMER_GROUP or 'an empty CONSUMER_GROUP'}: "
            f"{', '.join(sorted(declared)) or 'nothing'}.",
            hint="create_topics makes the group's retry and dead-letter topics from that setting.",
            id="outbox.E005",
        )
    ]


@register(Tags.database)
def check_replica_set(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001
    databases: Sequence[str] | None = None,
    **_: Any,  # noqa: ANN401
) -> list[CheckMessage]:
    """MongoDB has transactions on a replica set or a sharded cluster alone."""
    errors: list[CheckMessage] = []
    for alias in databases or ():
        connection: Any = connections[alias]
        if connection.vendor != "mongodb":
            continue
        try:
            connection.ensure_connection()
            hello = connection.connection.admin.command("hello")
        except PyMongoError as exc:
            errors.append(Error(f"MongoDB of {alias!r} does not answer: {exc}", id="outbox.E007"))
            continue
        if "setName" not in hello and hello.get("msg") != "isdbgrid":
            hint = "Start mongod with --replSet and call replSetInitiate; one member is enough."
            text = f"MongoDB of {alias!r} is no replica set, and so has no transactions."
            errors.append(Error(text, hint=hint, id="outbox.E006"))
    return errors


def declared_events(config: AppConfig) -> Iterator[type[Any]]:
    """Find the event classes of an app's events.py: dataclasses that say all of themselves."""
    if config.module is None or not module_has_submodule(config.module, "events"):
        return
    module = import_module(f"{config.name}.events")
    for _, cls in inspect.getmembers(module, inspect.isclass):
        if dataclasses.is_dataclass(cls) and all(
            isinstance(getattr(cls, name, None), str) for name in EVENT_ATTRIBUTES
        ):
            yield cls


def _faults(event: type[Any]) -> Iterator[CheckMessage]:
    name = record_name(event)
    if event.topic not in {topic.name for topic in settings.OUTBOX_TOPICS}:
        yield Error(
            f"{name} goes to {event.topic}, which OUTBOX_TOPICS does not have.",
            hint="Add it there, so that create_topics makes it.",
            obj=event,
            id="outbox.E001",
        )
    schema = local_schemas().get(name)
    if schema is None:
        yield Error(f"{name} has no schema below {settings.AVRO_DIR}.", obj=event, id="outbox.E002")
        return
    in_schema = {field["name"] for field in schema.parsed["fields"]}
    missing = {field.name for field in dataclasses.fields(event)} - in_schema
    if missing:
        yield Error(
            f"{name} has {', '.join(sorted(missing))}, and {schema.path.name} has not.",
            obj=event,
            id="outbox.E008",
        )
