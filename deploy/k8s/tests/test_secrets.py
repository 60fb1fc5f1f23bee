"""Secrets are made by the README's commands, and no other place holds them."""

from __future__ import annotations

import re

import pytest

from deploy.k8s.tests.manifests import K8S, OVERLAYS, of_kind, render, workloads

README = (K8S / "README.md").read_text()
# The names of the original set-up, which existing clusters have.
ORIGINAL = {
    "jwt-secret": {"JWT_KEY"},
    "orders-postgres-credentials": {"POSTGRES_USER", "POSTGRES_PASSWORD", "DATABASE_URL"},
    "stripe-secret": {"STRIPE_KEY"},
}


def documented():
    made = {}
    for name, rest in re.findall(
        r"^\$ kubectl create secret generic (\S+) (.*)$", README, re.MULTILINE
    ):
        made[name] = set(re.findall(r"--from-literal=(\w+)=", rest))
    return made


def references(overlay):
    for workload in workloads(overlay).values():
        for container in workload.containers:
            for entry in container.get("env", ()):
                if reference := entry.get("valueFrom", {}).get("secretKeyRef"):
                    yield reference["name"], reference["key"]
            for source in container.get("envFrom", ()):
                assert "secretRef" not in source


def test_secrets_of_the_original_set_up_have_their_names():
    assert {name: documented()[name] for name in ORIGINAL} == ORIGINAL
    assert "kubectl create secret tls ticketing-tls " in README
    assert "?schema=public" in README


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_secret_that_is_read_is_made_by_a_documented_command(overlay):
    for name, key in references(overlay):
        assert key in documented().get(name, ()), (name, key)


def test_every_secret_that_is_made_is_read():
    read = set(references("dev"))

    assert {(name, key) for name, keys in documented().items() for key in keys} <= read


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_manifest_holds_a_secret(overlay):
    assert of_kind(overlay, "Secret") == {}
    for each in render(overlay):
        for value in each.get("data", {}).values():
            assert not re.search(r"sk_(test|live)_|whsec_|://[^/@]+:[^/@]+@", value)


def test_every_directory_of_the_readme_is_there():
    for name in re.findall(r"^\| `(\w+(?:/\w+)?)` \|", README, re.MULTILINE):
        assert (K8S / name).is_dir()
