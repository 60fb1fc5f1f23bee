from __future__ import annotations

import json
import os
import socket

import pytest

from deploy.local.errors import CannotContinue
from deploy.local.ports import NAMES, by_whom, choose_ports, find_free, is_free, settle_ports


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def port_of(server):
    return server.getsockname()[1]


def test_every_part_gets_a_port_of_its_own(tmp_path):
    ports = choose_ports({}, tmp_path / "ports.json")

    assert set(ports) == set(NAMES)
    assert len(set(ports.values())) == len(NAMES)
    assert ports["gateway"] == 8000


def test_ports_nobody_chose_stay_the_same_from_start_to_start(tmp_path):
    first = choose_ports({}, tmp_path / "ports.json")
    second = choose_ports({}, tmp_path / "ports.json")

    assert first == second


def test_the_environment_decides(tmp_path):
    given = {"PORT": "8123", "KAFKA_CONTROLLER_PORT": "21999"}

    ports = choose_ports(given, tmp_path / "ports.json")

    assert ports["gateway"] == 8123
    assert ports["kafka-controller"] == 21999


def test_a_remembered_port_that_is_given_to_another_part_is_given_up(tmp_path):
    remembered = tmp_path / "ports.json"
    remembered.write_text(json.dumps({"redis": 25000}))

    ports = choose_ports({"MONGOD_PORT": "25000"}, remembered)

    assert ports["mongod"] == 25000
    assert ports["redis"] != 25000


@pytest.mark.parametrize("text", ["eighty", "0", "65536", "-1", "80.5"])
def test_a_port_that_is_none_is_refused_by_name(tmp_path, text):
    with pytest.raises(CannotContinue, match="PORT must be a port"):
        choose_ports({"PORT": text}, tmp_path / "ports.json")


def test_a_broken_memory_is_made_anew(tmp_path):
    remembered = tmp_path / "ports.json"
    remembered.write_text("{")

    assert set(choose_ports({}, remembered)) == set(NAMES)


def test_a_port_somebody_listens_on_is_not_free(listener):
    assert not is_free(port_of(listener))


def test_a_taken_port_of_the_gateway_is_told_with_its_owner_and_the_way_out(tmp_path, listener):
    port = port_of(listener)

    with pytest.raises(CannotContinue) as refusal:
        settle_ports({"gateway": port}, {}, tmp_path / "ports.json")

    assert f"Port {port} (gateway) is taken by" in str(refusal.value)
    assert f"(pid {os.getpid()})" in str(refusal.value)
    assert "make run PORT=" in str(refusal.value)


def test_a_taken_port_that_was_chosen_by_hand_is_told(tmp_path, listener):
    port = port_of(listener)

    with pytest.raises(CannotContinue, match="make run REDIS_PORT="):
        settle_ports({"redis": port}, {"REDIS_PORT": str(port)}, tmp_path / "ports.json")


def test_a_taken_port_that_nobody_chose_is_replaced_and_remembered(tmp_path, listener):
    port = port_of(listener)
    remembered = tmp_path / "ports.json"

    settled = settle_ports({"redis": port, "kafka": 1}, {}, remembered, lambda each: each != port)

    assert settled["redis"] != port
    assert json.loads(remembered.read_text()) == settled


def test_no_free_port_at_all_is_told():
    with pytest.raises(CannotContinue, match="No port is free"):
        find_free((), lambda _port: False)


def test_a_free_port_has_no_owner():
    assert by_whom(find_free(())) == ""
