"""How pods are started, watched, stopped and locked in."""

from __future__ import annotations

import pytest

from apps.outbox.conf import Defaults
from deploy.k8s.tests.manifests import (
    OVERLAYS,
    SERVICES,
    environment,
    of_kind,
    ours,
    render,
    workloads,
)
from ticketing.topics import CONSUMERS, TOPICS

PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
MARGIN_SECONDS = 5
# Their start scripts write into their image's directories (stores/*.yaml say so).
WRITES_INSIDE = {"kafka", "schema-registry"}


def deployments(overlay):
    return [each for each in ours(overlay).values() if each.kind == "Deployment"]


def option(command, name):
    [value] = [word.partition("=")[2] for word in command if word.startswith(f"--{name}=")]
    return value


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_probes_ask_a_port_that_the_process_serves(overlay):
    for workload in deployments(overlay):
        values = environment(overlay, workload.app)
        metrics = int(values["METRICS_ADDRESS"].rpartition(":")[2])
        ports = {port["name"]: port["containerPort"] for port in workload.app["ports"]}
        served = {metrics}
        if workload.component == "web":
            binds = [
                word.rpartition(":")[2]
                for word in workload.app["command"]
                if word.startswith("--bind=")
            ]
            assert metrics in {int(port) for port in binds}
            served = {int(port) for port in binds}
        assert set(ports.values()) == served, workload.name
        assert ports["metrics"] == metrics
        for probe, path in zip(PROBES, ("/healthz", "/healthz", "/readyz"), strict=True):
            asked = workload.app[probe]["httpGet"]
            assert asked["path"] == path
            assert ports[asked["port"]] in served


def test_a_worker_that_hangs_is_given_its_time_before_it_is_restarted():
    """/healthz fails LIVENESS_SECONDS after the last round; then the probe must fail thrice."""
    values = environment("production", ours("production")["tickets-relay"].app)

    assert int(values["LIVENESS_SECONDS"]) == Defaults.LIVENESS_SECONDS


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_grace_period_covers_what_the_process_takes_to_end(overlay):
    for workload in deployments(overlay):
        grace = workload.pod["terminationGracePeriodSeconds"]
        if workload.component == "web":
            waits = workload.app["lifecycle"]["preStop"]["sleep"]["seconds"]
            takes = int(option(workload.app["command"], "graceful-timeout"))
            assert waits >= MARGIN_SECONDS
            assert grace >= waits + takes + MARGIN_SECONDS
        else:
            values = environment(overlay, workload.app)
            assert grace >= int(values["STOP_GRACE_SECONDS"]) + MARGIN_SECONDS


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_roll_out_never_has_fewer_than_before(overlay):
    for workload in deployments(overlay):
        strategy = workload.manifest["spec"]["strategy"]["rollingUpdate"]
        assert strategy == {"maxSurge": 1, "maxUnavailable": 0}
        assert [spread["topologyKey"] for spread in workload.pod["topologySpreadConstraints"]] == [
            "kubernetes.io/hostname",
            "topology.kubernetes.io/zone",
        ]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_process_starts_before_its_migrations_and_its_events_schemas(overlay):
    with_events = {"relay", "consumer", "raw"}

    for workload in deployments(overlay):
        [rollout] = [each for each in workload.containers if each["name"] == "rollout"]
        events = ["--events"] if workload.component in with_events else []
        assert rollout["command"] == ["python", "manage.py", "await_rollout", *events]
        assert rollout["image"] == workload.app["image"], workload.name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_have_no_rights(overlay):
    [namespace] = of_kind(overlay, "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"

    for name, workload in workloads(overlay).items():
        pod = workload.pod
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["enableServiceLinks"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] > 0, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in workload.containers:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert context["readOnlyRootFilesystem"] is (name not in WRITES_INSIDE), name
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), name
            assert "memory" in container["resources"]["limits"], name


def test_in_production_web_processes_are_scaled_by_cpu():
    scalers = of_kind("production", "HorizontalPodAutoscaler")

    assert set(scalers) == {f"{service}-web" for service in SERVICES}
    for name, scaler in scalers.items():
        assert scaler["spec"]["scaleTargetRef"]["name"] == name
        assert scaler["spec"]["minReplicas"] >= 2


def test_in_production_consumers_are_scaled_by_their_lag_up_to_one_a_partition():
    partitions = {topic.name: topic.partitions for topic in TOPICS}
    wanted = {
        f"{group.rpartition('.')[2]}-consumer": (group, set(topics))
        for group, topics in CONSUMERS.items()
    }
    wanted["orders-raw"] = ("ticketing.orders.raw.worker", {"ticketing.orders.raw"})
    scalers = of_kind("production", "ScaledObject")

    for name, (group, topics) in wanted.items():
        spec = scalers[name]["spec"]
        triggers = [trigger["metadata"] for trigger in spec["triggers"]]
        assert {trigger["type"] for trigger in spec["triggers"]} == {"kafka"}
        assert {trigger["topic"] for trigger in triggers} == topics
        assert {trigger["consumerGroup"] for trigger in triggers} == {group}
        for trigger in triggers:
            values = environment("production", workloads("production")[name].app)
            assert trigger["bootstrapServersFromEnv"] in values
        assert spec["maxReplicaCount"] == max(partitions[topic] for topic in topics)
    assert set(scalers) - set(wanted) == {
        f"{service}-relay" for service in SERVICES if service != "orders"
    }
    for name in set(scalers) - set(wanted):
        [trigger] = scalers[name]["spec"]["triggers"]
        assert (
            f'outbox_pending{{job="{name.removesuffix("-relay")}"}}' in trigger["metadata"]["query"]
        )


def test_in_production_nobody_sets_the_count_of_what_is_scaled():
    scaled = {
        each["spec"]["scaleTargetRef"]["name"]
        for each in render("production")
        if each["kind"] in {"HorizontalPodAutoscaler", "ScaledObject"}
    }

    for workload in deployments("production"):
        count = workload.manifest["spec"].get("replicas")
        if workload.name in scaled:
            assert count is None, workload.name
        elif workload.name != "expiration-beat":
            assert count >= 2, workload.name
    assert scaled <= set(ours("production"))
