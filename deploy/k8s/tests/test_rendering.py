from __future__ import annotations

import functools
import json

import kubernetes_validate
import pytest
import yaml

from deploy.k8s.tests.manifests import K8S, OVERLAYS, ROOT, render, workloads

# The newest that the schemas know, and the oldest in which what is used here is not behind a gate.
VERSIONS = (kubernetes_validate.latest_version(), "1.31")
WITHOUT_SCHEMA = {"ScaledObject"}  # KEDA's own: test_scaling.py


@functools.cache
def validate(text, version):
    """Validate an object once: overlays have most of them in common."""
    kubernetes_validate.validate(json.loads(text), version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_is_valid(overlay, version):
    found = [each for each in render(overlay) if each["kind"] not in WITHOUT_SCHEMA]

    for each in found:
        validate(json.dumps(each), version)

    assert len(found) > 70


def test_a_misspelt_field_is_found():
    [deployment, *_] = [each for each in render("dev") if each["kind"] == "Deployment"]
    spec = deployment["spec"] | {"replica": 2}

    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(deployment | {"spec": spec}, VERSIONS[0], strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_names_are_unique_and_all_is_in_one_namespace(overlay):
    names = [(each["kind"], each["metadata"]["name"]) for each in render(overlay)]
    namespaces = {
        each["metadata"].get("namespace") for each in render(overlay) if each["kind"] != "Namespace"
    }

    assert len(names) == len(set(names))
    assert namespaces == {"ticketing"}


def test_every_file_of_manifests_is_used_by_an_overlay():
    used = set()

    def walk(directory):
        kustomization = yaml.safe_load((directory / "kustomization.yaml").read_text())
        paths = [
            *kustomization.get("resources", ()),
            *(patch["path"] for patch in kustomization.get("patches", ()) if "path" in patch),
        ]
        used.add(directory / "kustomization.yaml")
        for path in paths:
            found = (directory / path).resolve()
            walk(found) if found.is_dir() else used.add(found)

    for overlay in OVERLAYS:
        walk(K8S / "overlays" / overlay)

    assert used == set(K8S.rglob("*.yaml"))


def test_skaffold_builds_every_image_that_no_registry_has():
    skaffold = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
    built = {artifact["image"] for artifact in skaffold["build"]["artifacts"]}
    used = {
        container["image"]
        for workload in workloads("skaffold").values()
        for container in workload.containers
    }

    assert built == {image for image in used if ":" not in image}
    assert skaffold["manifests"]["kustomize"]["paths"] == ["deploy/k8s/overlays/skaffold"]


def test_production_pins_every_image():
    for workload in workloads("production").values():
        for container in workload.containers:
            assert container["image"].partition(":")[2] not in {"", "latest"}, workload.name
