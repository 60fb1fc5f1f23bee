"""compose.yaml against the list that it must equal: deploy/local/stack.py."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deploy.compose.prepare import PROVIDER, caddyfile, generate_secrets
from deploy.compose.welcome import table
from deploy.local import config as local
from deploy.local import fetch
from deploy.local.entries import Entry
from deploy.local.stack import SERVERS_ALONE, STACK

ROOT = local.ROOT
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
SERVERS = (*SERVERS_ALONE, "gateway")
PROCESSES = [each for each in STACK if each.name not in SERVERS and not each.once]
# Static files are in the image, and the demo tickets' seller is looked up by a program.
IN_THE_IMAGE = "collectstatic"
JOBS = [each for each in STACK if each.once and each.name not in {IN_THE_IMAGE, "seed"}]
ONLY_HERE = {"prepare", "replica-set", "welcome", "seed"}
IMAGE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
GIVEN_BY_THE_IMAGE = {"METRICS_ADDRESS", "STATIC_ROOT"}


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> local.Config:
    return local.load({"TICKETING_DIR": str(tmp_path_factory.mktemp("stack")), "HOME": "/root"})


def command_here(name: str) -> list[str]:
    """Return the command of a container: compose's, or else the image's."""
    if "command" in SERVICES[name]:
        return SERVICES[name]["command"]
    [words] = re.findall(r"^CMD (\[.+\])$", IMAGE, re.MULTILINE)
    return json.loads(words)


def without_addresses(command: list[str]) -> list[str]:
    return [re.sub(r"^[0-9.]+:[0-9]+$", "ADDRESS", word) for word in command]


def command_there(entry: Entry, config: local.Config) -> list[str]:
    first, *others = entry.program.launch(config).command
    assert first == sys.executable
    return ["python", *others]


def test_the_containers_are_the_processes_of_the_local_stack_and_what_is_named_here():
    there = {each.name for each in STACK} - {IN_THE_IMAGE}

    assert set(SERVICES) == there | ONLY_HERE


@pytest.mark.parametrize("entry", [*PROCESSES, *JOBS], ids=lambda entry: entry.name)
def test_a_container_runs_the_command_of_the_local_stack(entry, config):
    here, there = command_here(entry.name), command_there(entry, config)

    assert without_addresses(here) == without_addresses(there)


@pytest.mark.parametrize("entry", [*PROCESSES, *JOBS], ids=lambda entry: entry.name)
def test_a_container_has_the_environment_of_the_local_stack(entry, config):
    here = SERVICES[entry.name]["environment"]
    there = set(entry.program.launch(config).environment) - GIVEN_BY_THE_IMAGE

    missing = {name for name in there if name not in here and f"{name}_FILE" not in here}

    assert not missing
    assert (
        here["DJANGO_SETTINGS_MODULE"]
        == (entry.program.launch(config).environment["DJANGO_SETTINGS_MODULE"])
    )


@pytest.mark.parametrize("entry", PROCESSES, ids=lambda entry: entry.name)
def test_a_container_waits_for_what_its_process_waits_for(entry):
    here = SERVICES[entry.name]["depends_on"]
    in_the_image = {IN_THE_IMAGE}

    assert set(entry.after) - in_the_image <= set(here)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_container_waits_for_jobs_that_end_and_for_servers_that_are_healthy(name):
    jobs = {each.name for each in JOBS} | ONLY_HERE

    for other, wanted in SERVICES[name].get("depends_on", {}).items():
        assert other in SERVICES
        ends = other in jobs
        assert wanted["condition"] == (
            "service_completed_successfully" if ends else "service_healthy"
        ), other


@pytest.mark.parametrize("name", sorted(each.name for each in [*PROCESSES, *JOBS]))
def test_a_container_of_ours_may_nothing(name):
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_every_volume_is_declared_and_used():
    used = {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", ())
    }

    assert used == set(COMPOSE["volumes"])


def test_every_secret_that_is_read_is_one_that_is_made(tmp_path):
    names = set(re.findall(r"/run/ticketing/([A-Z_]+)", (ROOT / "compose.yaml").read_text()))

    run_prepare(tmp_path)

    assert names <= {path.name for path in (tmp_path / "secrets").iterdir()}
    assert generate_secrets().keys() <= local.generate_secrets().keys()


def test_preparing_again_keeps_the_secrets(tmp_path):
    run_prepare(tmp_path)
    before = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}

    said = run_prepare(tmp_path)

    assert before == {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert "0 secrets are new" in said
    assert before["POSTGRES_PASSWORD"] in before["DATABASE_URL"]


def test_the_welcome_names_the_address_and_the_accounts(tmp_path):
    run_prepare(tmp_path)

    said = table("http://127.0.0.1:8000", tmp_path / "secrets")

    password = (tmp_path / "secrets" / "DEMO_BUYER_PASSWORD").read_text()
    assert "http://127.0.0.1:8000/" in said
    assert f"buyer@example.com   {password}" in said


def run_prepare(directory: Path) -> str:
    for name in ("secrets", "gateway"):
        (directory / name).mkdir(exist_ok=True)
    command = (
        *(sys.executable, "-m", "deploy.compose.prepare"),
        *("--secrets", str(directory / "secrets"), "--gateway", str(directory / "gateway")),
    )
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_the_gateway_reaches_the_web_processes_by_the_names_of_their_containers(tmp_path):
    _, cache = local.directories(os.environ)
    written = tmp_path / "Caddyfile"
    written.write_text(caddyfile(Path("/pages")), encoding="utf-8")
    command = (str(fetch.caddy(cache)), "adapt", "--adapter", "caddyfile", "--config", str(written))

    done = subprocess.run(command, check=True, capture_output=True, text=True)

    dials = set(re.findall(r'"dial":"([^"]+)"', done.stdout))
    assert dials == {f"{service}-web:8000" for service in local.SERVICES} | {PROVIDER}


def test_the_sandbox_is_given_what_the_local_stack_gives_it(config):
    [there] = [each for each in STACK if each.name == "provider"]
    words = there.program.launch(config).command
    here = SERVICES["provider"]["command"][-1]

    for word in words:
        if word.startswith("--"):
            assert f"{word} " in here
    assert all(name in here for name in there.program.launch(config).environment)
