"""What is in the images, and what is not."""

from __future__ import annotations

import json
import re

import pytest

from deploy.images.engine import Engine
from deploy.local.config import ROOT
from deploy.local.fetch import locked_jars

pytestmark = pytest.mark.timeout(900)


def run(engine: Engine, image: str, script: str) -> str:
    return engine.docker("run", "--rm", "--network=none", image, "sh", "-c", script)


def configuration(engine: Engine, image: str) -> dict:
    [found] = json.loads(engine.docker("image", "inspect", image))
    return found["Config"]


def test_nothing_that_builds_is_in_the_environment_of_the_services(engine, images):
    said = run(
        engine,
        images[0],
        "for t in pip gcc cc make g++; do command -v $t; done; python -m pip 2>&1; true",
    )

    assert said.strip().endswith("No module named pip")
    assert len(said.strip().splitlines()) == 1


def test_the_service_image_has_neither_tests_nor_the_sandbox(engine, images):
    said = run(engine, images[0], "find /app -name tests -o -name conftest.py -o -name sandbox")

    assert said == ""


def test_the_demo_image_has_the_sandbox(engine, images):
    said = run(
        engine,
        images[1],
        "python -m deploy.sandbox --help && python -m deploy.compose.seed --help || true",
    )

    assert "speaks Stripe's API" in said


def test_the_code_belongs_to_root_and_the_process_to_nobody(engine, images):
    said = run(engine, images[0], "stat --format=%U /app /app/manage.py /opt/venv; id -u")

    assert said.split() == ["root", "root", "root", "10001"]


def test_the_image_says_what_it_is_and_how_its_health_is_asked(engine, images):
    found = configuration(engine, images[0])

    titles = {name: value for name, value in found["Labels"].items() if "opencontainers" in name}
    assert titles["org.opencontainers.image.title"] == "ticketing"
    assert titles["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert found["Healthcheck"]["Test"] == ["CMD", "python", "-m", "ticketing.healthcheck"]
    assert found["User"] == "10001:10001"


def test_a_container_without_settings_says_which_one_lacks(engine, images):
    command = "DJANGO_SETTINGS_MODULE=ticketing.settings.auth python manage.py check 2>&1; true"

    assert "JWT_KEY is not set" in run(engine, images[0], command)


def test_connects_image_has_the_connector_that_the_tests_run():
    text = (ROOT / "deploy/images/kafka-connect-debezium/Dockerfile").read_text(encoding="utf-8")
    [locked] = [jar for jar in locked_jars() if jar.artifact == "debezium-connector-postgres"]

    assert re.findall(r"DEBEZIUM_VERSION=(\S+)", text) == [locked.version]
    assert re.findall(r"DEBEZIUM_SHA256=([0-9a-f]{64})$", text, re.MULTILINE)


def test_kafkas_image_has_the_version_that_the_tests_run():
    [locked] = [jar for jar in locked_jars() if jar.artifact == "connect-runtime"]
    compose = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    text = (ROOT / "deploy/images/kafka-connect-debezium/Dockerfile").read_text(encoding="utf-8")

    assert f"apache/kafka:${{KAFKA_VERSION:-{locked.version}}}" in compose
    assert f"KAFKA_IMAGE=apache/kafka:{locked.version}" in text
