"""Each process reaches what it needs and nothing else, by the policies themselves."""

from __future__ import annotations

import pytest

from deploy.k8s.tests.manifests import (
    NAME,
    OVERLAYS,
    SERVICES,
    STORE,
    matches,
    of_kind,
    ours,
    workloads,
)
from deploy.local.stack import SERVERS_ALONE, STACK

DATABASES = {
    "auth": "auth-mongo",
    "tickets": "tickets-mongo",
    "orders": "orders-postgres",
    "payments": "payments-mongo",
    "expiration": "expiration-mongo",
}
# What does not follow from the order of the local stack.
BESIDES = {
    "auth-mailer": {"mail"},
    # The administration shows dead letters decoded.
    **{f"{service}-web": {"schema-registry"} for service in SERVICES},
    # Each night: rows of the store, by how far the groups have read.
    **{f"{service}-prune": {DATABASES[service], "kafka"} for service in SERVICES},
    "auth-prune-mails": {"auth-mongo"},
}
BESIDES["payments-web"] |= {"provider"}


def needs(name, service):
    """Return the stores that a process needs: the servers that it is started after."""
    entries = {entry.name: entry for entry in STACK}
    servers, open_names = set(), {name}
    while open_names:
        current = open_names.pop()
        if current in SERVERS_ALONE:
            servers.add(current)
        elif current in entries:
            open_names |= set(entries[current].after)
    names = {
        "mongod": DATABASES[service],
        "postgres": DATABASES[service],
        "registry": "schema-registry",
    }
    return {names.get(server, server) for server in servers} | BESIDES.get(name, set())


def egress(overlay, labels):
    """Return the policies by which pods with these labels may reach others, by name."""
    return {
        name: policy
        for name, policy in of_kind(overlay, "NetworkPolicy").items()
        if "Egress" in policy["spec"]["policyTypes"]
        and matches(policy["spec"]["podSelector"], labels)
        and policy["spec"].get("egress")
    }


def reached(overlay, labels):
    names = {name.removeprefix("to-") for name in egress(overlay, labels)} - {"dns"}
    return {name.replace("sandbox", "provider") for name in names}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_process_reaches_what_it_needs_and_nothing_else(overlay):
    found = {name: reached(overlay, each.labels) for name, each in ours(overlay).items()}

    assert found == {name: needs(name, each.service) for name, each in ours(overlay).items()}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_service_reaches_no_database_but_its_own(overlay):
    owners = {database: service for service, database in DATABASES.items()}

    for name, workload in workloads(overlay).items():
        for database in reached(overlay, workload.labels) & set(owners):
            assert owners[database] == workload.service, name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_passes_that_no_policy_lists(overlay):
    spec = of_kind(overlay, "NetworkPolicy")["nothing-else"]["spec"]

    assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_policy_names_whom_and_by_which_port(overlay):
    for name, policy in of_kind(overlay, "NetworkPolicy").items():
        for way, peers in (("ingress", "from"), ("egress", "to")):
            for rule in policy["spec"].get(way, ()):
                assert rule[peers], name
                assert rule["ports"], name
                for peer in rule[peers]:
                    assert any(peer.values()), (name, peer)


def test_in_production_the_stores_are_at_addresses_that_only_an_example_has():
    policies = of_kind("production", "NetworkPolicy")

    for name, policy in policies.items():
        if name.startswith("to-") and name not in {
            "to-dns",
            "to-connect",
            "to-provider",
            "to-mail",
        }:
            [rule] = policy["spec"]["egress"]
            for peer in rule["to"]:
                assert peer["ipBlock"]["cidr"].startswith("192.0.2."), name


def test_stores_of_development_let_in_exactly_those_who_may_reach_them():
    policies = of_kind("dev", "NetworkPolicy")
    pods = {name: each.labels for name, each in workloads("dev").items()}
    stores = {name: labels for name, labels in pods.items() if STORE in labels}

    for store, labels in stores.items():
        [rule] = policies[f"into-{store}"]["spec"]["ingress"]
        assert matches(policies[f"into-{store}"]["spec"]["podSelector"], labels)
        selectors = [
            peer["podSelector"] for peer in rule["from"] if "namespaceSelector" not in peer
        ]
        let_in = {
            name
            for name, theirs in pods.items()
            if any(matches(selector, theirs) for selector in selectors)
        }
        may_reach = {
            name
            for name, theirs in pods.items()
            for policy in egress("dev", theirs).values()
            for way in policy["spec"]["egress"]
            if any(
                "podSelector" in peer
                and "namespaceSelector" not in peer
                and matches(peer["podSelector"], labels)
                for peer in way["to"]
            )
            and way["ports"] == rule["ports"]
        }
        assert let_in == may_reach, store
        assert let_in, store


def test_ports_of_policies_are_those_that_pods_listen_on():
    pods = [
        each for each in workloads("dev").values() if STORE in each.labels or NAME in each.labels
    ]

    for policy in of_kind("dev", "NetworkPolicy").values():
        for rule in policy["spec"].get("ingress", ()):
            selected = [
                each for each in pods if matches(policy["spec"]["podSelector"], each.labels)
            ]
            listening = {
                port["containerPort"] for each in selected for port in each.app.get("ports", ())
            }
            assert {port["port"] for port in rule["ports"]} <= listening
