"""What the manifests give each process is what its code reads and takes."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys

import pytest

from deploy.k8s.tests.manifests import (
    ROOT,
    SERVICES,
    environment,
    of_kind,
    ours,
    workloads,
)

OVERLAYS = ("dev", "production")  # skaffold is dev with --reload
# Read by the process's own start, not by the settings.
ELSEWHERE = {"DJANGO_SETTINGS_MODULE"}
# Only for $(...) in the values of others.
PARTS = {"POD_IP", "PUBLIC_HOST"}


@functools.cache
def answer(overlay, service):
    """Ask the service's code, under the environment of its web process."""
    mine = [each for each in ours(overlay).values() if each.service == service]
    web = ours(overlay)[f"{service}-web"].app
    question = {
        "environment": environment(overlay, web),
        "commands": [each["command"] for workload in mine for each in workload.containers],
        "paths": ["/healthz", "/readyz", "/metrics"],
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "deploy.k8s.tests.asked"],
        input=json.dumps(question),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_settings_start_on_what_is_given_and_read_all_of_it(overlay, service):
    read = set(answer(overlay, service)["asked"])
    given = set(environment(overlay, ours(overlay)[f"{service}-web"].app))

    assert given - read - ELSEWHERE - PARTS == set()
    assert PARTS.isdisjoint(read)


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_command_exists_and_takes_its_arguments(overlay, service):
    assert answer(overlay, service)["faults"] == {}


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_process_of_a_service_has_the_same_environment(overlay, service):
    web = environment(overlay, ours(overlay)[f"{service}-web"].app)

    for workload in ours(overlay).values():
        for container in workload.containers:
            if workload.service == service:
                found = environment(overlay, container)
                known = web
                if container["name"] == "rollout" or workload.kind != "Deployment":
                    # They never talk to the provider.
                    known = {k: value for k, value in web.items() if k != "STRIPE_API_BASE"}
                assert found == known, (workload.name, container["name"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_web_processes_answer_to_the_host_of_the_gateway_and_to_their_own_address(overlay):
    for name, ingress in of_kind(overlay, "Ingress").items():
        [rule] = ingress["spec"]["rules"]
        for service in SERVICES:
            assert {rule["host"], "10.1.2.3"} <= set(answer(overlay, service)["hosts"]), name


def test_sandbox_is_let_in_where_it_calls_back():
    [argument] = [
        word for word in workloads("dev")["provider"].app["command"] if "webhook-url" in word
    ]

    host = argument.partition("//")[2].partition("/")[0]

    assert host in answer("dev", "payments")["hosts"]
    assert host in of_kind("dev", "Service")


@pytest.mark.parametrize("service", SERVICES)
def test_probes_of_web_processes_are_paths_of_the_service(service):
    probed = {
        container[probe]["httpGet"]["path"]
        for container in (ours("production")[f"{service}-web"].app,)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }

    views = answer("production", service)["views"]

    assert probed == {"/healthz", "/readyz"}
    assert views == {"/healthz": "healthz", "/readyz": "readyz", "/metrics": "metrics"}
