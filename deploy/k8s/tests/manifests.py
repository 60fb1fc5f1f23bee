"""The manifests as kubectl renders them, and what the tests ask of them."""

from __future__ import annotations

import functools
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
K8S = ROOT / "deploy" / "k8s"
OVERLAYS = ("dev", "production", "skaffold")
SERVICES = ("auth", "tickets", "orders", "payments", "expiration")
NAME, COMPONENT, STORE = (
    *("app.kubernetes.io/name", "app.kubernetes.io/component"),
    "ticketing.dev/store",
)

Object = dict[str, Any]


@functools.cache
def render(overlay: str) -> tuple[Object, ...]:
    kubectl = Path(sys.executable).with_name("kubectl")
    done = subprocess.run(
        [kubectl, "kustomize", K8S / "overlays" / overlay],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(overlay: str, *kinds: str) -> dict[str, Object]:
    return {found["metadata"]["name"]: found for found in render(overlay) if found["kind"] in kinds}


@dataclass(frozen=True)
class Workload:
    """A Deployment, StatefulSet, Job or CronJob with the pods that it makes."""

    kind: str
    name: str
    labels: dict[str, str]
    pod: Object
    manifest: Object

    @property
    def service(self) -> str:
        """Whose process it is; empty for stores and the sandbox."""
        return self.labels.get(NAME, "")

    @property
    def component(self) -> str:
        return self.labels.get(COMPONENT, "")

    @property
    def containers(self) -> list[Object]:
        return [*self.pod.get("initContainers", ()), *self.pod["containers"]]

    @property
    def app(self) -> Object:
        [container] = self.pod["containers"]
        return container


@functools.cache
def workloads(overlay: str) -> dict[str, Workload]:
    return {found.name: found for found in _workloads(overlay)}


def ours(overlay: str) -> dict[str, Workload]:
    """Return what runs a process of a service."""
    return {name: found for name, found in workloads(overlay).items() if found.service in SERVICES}


def _workloads(overlay: str) -> Iterator[Workload]:
    for found in render(overlay):
        spec = found.get("spec", {})
        match found["kind"]:
            case "Deployment" | "StatefulSet" | "Job":
                template = spec["template"]
            case "CronJob":
                template = spec["jobTemplate"]["spec"]["template"]
            case _:
                continue
        yield Workload(
            kind=found["kind"],
            name=found["metadata"]["name"],
            labels=template["metadata"]["labels"],
            pod=template["spec"],
            manifest=found,
        )


def environment(overlay: str, container: Object) -> dict[str, str]:
    """Return the container's environment as kubelet makes it, with stand-ins for secrets."""
    maps = of_kind(overlay, "ConfigMap")
    values: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        values |= maps[source["configMapRef"]["name"]]["data"]
    named: dict[str, str] = {}
    for entry in container.get("env", ()):
        match entry:
            case {"value": value}:
                # Only what stands before an entry may be referred to in it.
                for earlier, text in named.items():
                    value = value.replace(f"$({earlier})", text)
                assert "$(" not in value, (entry, "refers to nothing that stands before it")
                named[entry["name"]] = value
            case {"valueFrom": {"configMapKeyRef": reference}}:
                named[entry["name"]] = maps[reference["name"]]["data"][reference["key"]]
            case {"valueFrom": {"secretKeyRef": reference}}:
                named[entry["name"]] = SECRETS.get(reference["key"], ANY_SECRET)
            case {"valueFrom": {"fieldRef": _}}:
                named[entry["name"]] = "10.1.2.3"
            case _:
                raise AssertionError(f"What is this? {entry}")
    return values | named


ANY_SECRET = secrets.token_hex(32)  # as the README's commands make them
SECRETS = {
    "DATABASE_URL": "postgresql://ticketing:stand-in@orders-postgres:5432/orders?schema=public",
    "MONGODB_URI": "mongodb://mongo-0.mongo:27017/?replicaSet=rs0",
    "EMAIL_URL": "smtp+tls://anna:stand-in@mail.example.com:587",
    "REDIS_URL": "redis://redis:6379/0",
}


def matches(selector: Object, labels: dict[str, str]) -> bool:
    """Tell whether a label selector of Kubernetes selects the labels."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for expression in selector.get("matchExpressions", ()):
        value, values = labels.get(expression["key"]), expression.get("values", ())
        match expression["operator"]:
            case "In":
                fits = value in values
            case "NotIn":
                fits = value not in values
            case operator:
                raise AssertionError(f"Not known here: {operator}")
        if not fits:
            return False
    return True
