"""Bringing the registry to what AVRO_DIR holds: the compatibility first, then the schema."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

from confluent_kafka.schema_registry.error import SchemaRegistryError

from .conf import settings
from .registry import Registry, avro, subject_of
from .schemas import LocalSchema, local_schemas

COMPATIBILITY = "FULL_TRANSITIVE"


class Step(StrEnum):
    UNCHANGED = "unchanged"
    NEW = "new"
    NEW_VERSION = "new version"
    INCOMPATIBLE = "incompatible"


class NotRegistered(Exception):
    """The registry does not hold what it was given."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What there is to do for one subject.

    Args:
        compatibility: the subject's own level now; None if it has none.
        reasons: why an incompatible schema is refused.
    """

    subject: str
    schema: LocalSchema
    step: Step
    compatibility: str | None
    reasons: tuple[str, ...] = ()

    @property
    def is_done(self) -> bool:
        return self.step == Step.UNCHANGED and self.compatibility == COMPATIBILITY


def subjects() -> Iterator[tuple[str, LocalSchema]]:
    """Yield each subject with its schema: those of a topic's namespace belong to the topic.

    Raises:
        ValueError: a schema belongs to no topic, or to more than one.
    """
    topics: dict[str, str] = {}
    for topic in settings.OUTBOX_TOPICS:
        namespace = topic.avro_namespace
        for held in [f"{namespace}.{name}" for name in topic.records] or [namespace]:
            other = topics.setdefault(held, topic.name)
            if other != topic.name:
                raise ValueError(
                    f"{other} and {topic.name} both hold {held}. Name the records of one of them."
                )
    for name, schema in local_schemas().items():
        namespace = name.rpartition(".")[0]
        topic_name = topics.get(name) or topics.get(namespace)
        if topic_name is None:
            raise ValueError(f"{schema.path}: no topic of OUTBOX_TOPICS holds {namespace}.")
        yield subject_of(topic_name, name), schema


def plan(registry: Registry) -> list[Plan]:
    """Compare the registry with AVRO_DIR, and change nothing."""
    return [_plan(registry, subject, schema) for subject, schema in subjects()]


def carry_out(registry: Registry, planned: Plan) -> int:
    """Set the subject's compatibility, register the schema if it is missing, and return its id.

    Raises:
        NotRegistered: the registry keeps something else than it was given.
        SchemaRegistryError: it refuses the schema, or cannot answer.
    """
    if planned.compatibility != COMPATIBILITY:
        registry.client.set_compatibility(planned.subject, COMPATIBILITY)
        level = _compatibility(registry, planned.subject)
        if level != COMPATIBILITY:
            raise NotRegistered(f"{planned.subject}: its compatibility stays {level}.")
    if planned.step != Step.UNCHANGED:
        registry.client.register_schema(planned.subject, avro(planned.schema))
    found = registry.find(planned.subject, planned.schema)
    if found is None:
        raise NotRegistered(f"{planned.subject}: what is registered means something else.")
    return found


def _plan(registry: Registry, subject: str, schema: LocalSchema) -> Plan:
    compatibility = _compatibility(registry, subject)
    step = Step.NEW
    reasons: tuple[str, ...] = ()
    if registry.find(subject, schema) is not None:
        step = Step.UNCHANGED
    elif registry.exists(subject):
        reasons = registry.objections(subject, schema)
        step = Step.INCOMPATIBLE if reasons else Step.NEW_VERSION
    return Plan(
        subject=subject, schema=schema, step=step, compatibility=compatibility, reasons=reasons
    )


def _compatibility(registry: Registry, subject: str) -> str | None:
    try:
        return registry.client.get_compatibility(subject)
    except SchemaRegistryError as exc:
        if exc.http_status_code == HTTPStatus.NOT_FOUND:
            return None
        raise
