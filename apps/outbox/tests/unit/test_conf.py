from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from apps.outbox import conf
from apps.outbox.conf import Defaults

PACKAGE = Path(conf.__file__).parent
DECLARED = set(inspect.get_annotations(Defaults)) | {
    name for name, value in vars(Defaults).items() if isinstance(value, property)
}


def settings_named_in(module):
    return set(re.findall(r"\bsettings\.([A-Z][A-Z_]+)", module.read_text(encoding="utf-8")))


def test_what_the_project_sets_counts(settings):
    settings.CONSUMER_ATTEMPTS = 17

    assert conf.settings.CONSUMER_ATTEMPTS == 17


def test_what_the_project_does_not_set_has_a_default(settings):
    del settings.CONSUMER_ATTEMPTS

    assert conf.settings.CONSUMER_ATTEMPTS == Defaults.CONSUMER_ATTEMPTS


def test_what_has_no_default_is_asked_for_by_its_name(settings):
    del settings.KAFKA_BOOTSTRAP_SERVERS

    with pytest.raises(ImproperlyConfigured, match="KAFKA_BOOTSTRAP_SERVERS"):
        _ = conf.settings.KAFKA_BOOTSTRAP_SERVERS


def test_service_speaks_in_the_name_of_its_project(settings):
    for name in ("SERVICE_NAME", "OUTBOX_SOURCE", "CONSUMER_GROUP", "AVRO_DIR"):
        if hasattr(settings, name):
            delattr(settings, name)
    settings.ROOT_URLCONF = "cinema.urls"
    settings.BASE_DIR = Path("/srv/cinema")

    assert conf.settings.SERVICE_NAME == "cinema"
    assert conf.settings.OUTBOX_SOURCE == "/cinema"
    assert conf.settings.CONSUMER_GROUP == "cinema"
    assert Path("/srv/cinema/avro") == conf.settings.AVRO_DIR


def test_group_reads_the_topics_of_its_handlers(settings):
    del settings.OUTBOX_CONSUMERS

    assert settings.EVENT_HANDLERS
    assert list(conf.settings.OUTBOX_CONSUMERS) == [settings.CONSUMER_GROUP]
    (topics,) = conf.settings.OUTBOX_CONSUMERS.values()
    assert topics


def test_who_has_no_handlers_reads_nothing(settings):
    del settings.OUTBOX_CONSUMERS
    settings.EVENT_HANDLERS = ""

    assert conf.settings.OUTBOX_CONSUMERS == {}


def test_every_setting_that_is_asked_for_is_declared():
    modules = [
        path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] != "tests"
    ]

    asked_for = {name: module for module in modules for name in settings_named_in(module)}

    assert {name: str(module) for name, module in asked_for.items() if name not in DECLARED} == {}


@pytest.mark.parametrize("name", sorted(DECLARED))
def test_readme_says_what_each_setting_means(name):
    readme = (PACKAGE / "README.md").read_text(encoding="utf-8")

    assert re.search(rf"^\|[^|]*`{name}`", readme, re.MULTILINE)
