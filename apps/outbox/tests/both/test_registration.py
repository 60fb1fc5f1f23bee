from __future__ import annotations

import dataclasses
import io
import json
import uuid

import orjson
import pytest
from django.core.management import CommandError, call_command

from apps.outbox.codec import Codec
from apps.outbox.registration import COMPATIBILITY, Step, plan
from apps.outbox.registry import Registry
from apps.outbox.schemas import local_schemas
from apps.outbox.topics import Topic

FIELD = {"name": "door_id", "type": "string", "doc": "The door."}


class Folder:
    """An AVRO_DIR of the test's own, with a topic for its namespace."""

    def __init__(self, settings, path):
        self.settings = settings
        self.path = path
        self.topic = f"test.doors.t{uuid.uuid4().hex[:12]}"
        self.registry = Registry.from_settings()
        settings.OUTBOX_TOPICS = (Topic(self.topic, 1, ""),)
        self.write(FIELD)

    def write(self, *fields, doc="A door was shut."):
        """Write the next state of the folder; each has a path of its own, as schemas are cached."""
        directory = self.path / uuid.uuid4().hex
        directory.mkdir()
        schema = {
            "type": "record",
            "name": "DoorShut",
            "namespace": self.topic,
            "doc": doc,
            "fields": list(fields),
        }
        (directory / "door_shut.avsc").write_text(json.dumps(schema))
        self.settings.AVRO_DIR = directory

    @property
    def subject(self):
        return f"{self.topic}-{self.topic}.DoorShut"

    def plan(self):
        [planned] = plan(self.registry)
        return planned

    def register(self, **options):
        out = io.StringIO()
        call_command("register_schemas", stdout=out, **options)
        return out.getvalue()


@pytest.fixture
def folder(settings, tmp_path):
    folder = Folder(settings, tmp_path)
    yield folder
    folder.registry.client.close()


def test_new_schema_is_registered_with_its_compatibility(folder):
    assert folder.plan().step == Step.NEW

    output = folder.register()

    assert folder.subject in output
    assert folder.plan().is_done
    assert folder.registry.client.get_compatibility(folder.subject) == COMPATIBILITY
    [schema] = local_schemas().values()
    assert folder.registry.schema_id(folder.topic, schema) > 0


def test_registering_again_changes_nothing(folder):
    folder.register()

    assert "unchanged" in folder.register()
    assert len(folder.registry.client.get_versions(folder.subject)) == 1


def test_check_prints_the_plan_fails_and_changes_nothing(folder):
    out = io.StringIO()

    with pytest.raises(CommandError, match="1 of 1"):
        call_command("register_schemas", check=True, stdout=out)

    assert f"+ {folder.subject}: new" in out.getvalue()
    assert folder.plan().step == Step.NEW


def test_check_passes_once_all_is_registered(folder):
    folder.register()

    assert "1 schemas are registered" in folder.register(check=True)


def test_other_words_or_order_of_keys_need_no_new_version(folder):
    folder.register()

    folder.write(dict(reversed(FIELD.items())) | {"doc": "Which door."}, doc="Somebody shut it.")

    assert folder.plan().is_done


def test_optional_field_becomes_a_new_version(folder):
    folder.register()
    folder.write(FIELD, {"name": "by", "type": ["null", "string"], "default": None, "doc": "Who."})

    assert folder.plan().step == Step.NEW_VERSION
    folder.register()

    assert folder.plan().is_done
    assert len(folder.registry.client.get_versions(folder.subject)) == 2


def test_version_that_was_brought_back_sends_what_the_newer_one_left(folder):
    folder.register()
    before = folder.settings.AVRO_DIR
    folder.write(FIELD, {"name": "colour", "type": "string", "default": "", "doc": "Its colour."})
    folder.register()
    folder.settings.AVRO_DIR = before
    fields = {"door_id": "east", "colour": "red"}
    codec = Codec(folder.registry)

    value = codec.encode(folder.topic, f"{folder.topic}.DoorShut", orjson.dumps(fields))

    assert codec.decode(value)[1] == fields


@pytest.mark.parametrize(
    "fields",
    [
        [FIELD, {"name": "by", "type": "string", "doc": "Without a default."}],
        [FIELD | {"type": "long"}],
        [FIELD | {"name": "gate_id"}],
    ],
    ids=["required field", "another type", "another name"],
)
def test_incompatible_schema_is_refused_and_nothing_is_registered(folder, fields):
    folder.register()
    folder.write(*fields)

    with pytest.raises(CommandError, match="incompatible"):
        folder.register()

    assert folder.plan().step == Step.INCOMPATIBLE
    assert len(folder.registry.client.get_versions(folder.subject)) == 1


def test_compatibility_with_every_version_is_asked_for_and_not_with_the_last_alone(folder):
    by = {"name": "by", "type": ["null", "string"], "default": None, "doc": "Who."}
    folder.write(FIELD, by)
    folder.register()
    folder.write(FIELD)
    folder.register()

    folder.write(FIELD, by | {"type": ["null", "long"]})

    assert folder.plan().step == Step.INCOMPATIBLE


def test_schema_of_two_topics_is_refused(folder, settings):
    [topic, *_] = settings.OUTBOX_TOPICS
    twin = dataclasses.replace(topic, name=f"{topic.name}-twin", namespace=topic.avro_namespace)
    settings.OUTBOX_TOPICS = (topic, twin)

    with pytest.raises(ValueError, match="both hold"):
        folder.plan()


def test_a_namespace_is_shared_out_among_topics_by_the_names_of_records(folder, settings):
    [topic, *_] = settings.OUTBOX_TOPICS
    name = folder.plan().schema.name.rpartition(".")[2]
    twin = dataclasses.replace(topic, name=f"{topic.name}-twin", namespace=topic.avro_namespace)

    settings.OUTBOX_TOPICS = (topic, dataclasses.replace(twin, records=("Another",)))
    assert folder.plan().subject.startswith(f"{topic.name}-{topic.avro_namespace}")
    settings.OUTBOX_TOPICS = (topic, dataclasses.replace(twin, records=(name,)))
    assert folder.plan().subject.startswith(f"{twin.name}-")


def test_schema_of_no_topic_is_refused(folder, settings):
    settings.OUTBOX_TOPICS = ()

    with pytest.raises(ValueError, match="no topic"):
        folder.plan()
