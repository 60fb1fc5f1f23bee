"""Each process of the local stack has its workload, with the same command."""

from __future__ import annotations

import re

import pytest

from deploy.k8s.tests.manifests import COMPONENT, OVERLAYS, ROOT, of_kind, ours, workloads
from deploy.local import config
from deploy.local.stack import SERVERS_ALONE, STACK

# collectstatic: when the image is built. accounts, seed: of a demonstration.
ELSEWHERE = {"collectstatic", "accounts", "seed"}
# What differs by place: addresses, and how long a gateway goes on sending requests.
OF_THE_PLACE = re.compile(r"--(bind|graceful-timeout|keep-alive|worker-tmp-dir|verbosity)=.*")


def arguments(command):
    """Return a command's arguments in one form, without those that differ by place."""
    joined = []
    for word in command[1:]:
        is_value = word == "-" or word[0] != "-"
        if is_value and joined and joined[-1].startswith("--") and "=" not in joined[-1]:
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return sorted(word for word in joined if not OF_THE_PLACE.fullmatch(word))


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """The commands of the local stack's processes and jobs, by name."""
    home = str(tmp_path_factory.mktemp("stack"))
    system = config.load({"TICKETING_DIR": home, "TICKETING_CACHE": home})
    return {
        entry.name: (entry.once, arguments(list(entry.program.launch(system).command)))
        for entry in STACK
        if entry.name not in {*SERVERS_ALONE, "gateway"} | ELSEWHERE
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_process_and_job_of_the_local_stack_has_its_workload(overlay, stack):
    kinds = {True: "Job", False: "Deployment"}
    wanted = {name: (kinds[once], command) for name, (once, command) in stack.items()}
    found = {
        name: (workload.kind, arguments(workload.app["command"]))
        for name, workload in ours(overlay).items()
        if workload.kind != "CronJob"
    }

    assert found == wanted


def test_development_has_every_server_of_the_local_stack():
    names = {name for name in workloads("dev") if name not in ours("dev")}

    stores = {f"{service}-mongo" for service in ("auth", "tickets", "payments", "expiration")}
    others = {"orders-postgres", "redis", "kafka", "schema-registry", "connect", "provider"}
    assert names == stores | others
    assert len(SERVERS_ALONE) == len({"mongod", *others})


def test_every_store_of_development_keeps_its_data():
    without = {"schema-registry", "connect"}  # they keep all in Kafka

    for name, workload in workloads("dev").items():
        if name in ours("dev") or name in without:
            continue
        [claim] = workload.manifest["spec"]["volumeClaimTemplates"]
        mounted = {mount["name"] for mount in workload.app["volumeMounts"]}
        assert claim["metadata"]["name"] in mounted, name


def gateway_routes():
    """Read which path leads to which service from the local gateway's configuration."""
    text = (ROOT / "deploy/local/Caddyfile").read_text()
    named = dict(re.findall(r"@(\w+) path ((?:/\S* ?)+)", text))
    routes = {}
    for matcher, port in re.findall(r"handle @(\w+) \{\s*import service <(\w+)>", text):
        for path in named[matcher].split():
            routes[path.removesuffix("/*")] = port.lower().replace("_", "-")
    return routes


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_way_in_is_that_of_the_local_gateway(overlay):
    ingresses = of_kind(overlay, "Ingress")
    [rule] = ingresses["ticketing"]["spec"]["rules"]
    routes = {
        path["path"]: path["backend"]["service"]["name"]
        for path in rule["http"]["paths"]
        if path["path"] != "/"
    }

    assert routes == gateway_routes()
    assert rule["http"]["paths"][-1]["path"] == "/"
    assert rule["http"]["paths"][-1]["backend"]["service"]["name"] == "tickets-web"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_way_in_ends_at_a_port_of_pods(overlay):
    services = of_kind(overlay, "Service")

    for ingress in of_kind(overlay, "Ingress").values():
        [rule] = ingress["spec"]["rules"]
        [tls] = ingress["spec"]["tls"]
        assert (tls["secretName"], tls["hosts"]) == ("ticketing-tls", [rule["host"]])
        for path in rule["http"]["paths"]:
            backend = path["backend"]["service"]
            [port] = services[backend["name"]]["spec"]["ports"]
            assert port["name"] == backend["port"]["name"]

    for name, service in services.items():
        [port] = service["spec"]["ports"]
        selected = [
            workload
            for workload in workloads(overlay).values()
            if service["spec"]["selector"].items() <= workload.labels.items()
        ]
        assert [workload.name for workload in selected] == [name]
        ports = {each["name"]: each["containerPort"] for each in selected[0].app["ports"]}
        assert port.get("targetPort", port["name"]) in ports


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_whatever_may_have_more_than_one_pod_has_a_disruption_budget(overlay):
    budgets = of_kind(overlay, "PodDisruptionBudget")
    singles = {"expiration-beat", "schema-registry"}

    for name, workload in workloads(overlay).items():
        if workload.kind == "Deployment" and name not in singles:
            selector = budgets[name]["spec"]["selector"]["matchLabels"]
            assert selector.items() <= workload.labels.items(), name
            assert budgets[name]["spec"]["maxUnavailable"] == 1
    assert set(budgets) <= set(workloads(overlay))


def test_jobs_are_found_by_the_label_that_removes_them():
    for workload in ours("production").values():
        stage = workload.manifest["metadata"]["labels"].get("ticketing.dev/stage")
        assert (stage == "rollout") == (workload.kind == "Job"), workload.name
        assert workload.manifest["metadata"]["labels"][COMPONENT] == workload.component
