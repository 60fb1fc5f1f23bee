from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys

import httpx
import pytest

from apps.outbox.tests.sending import wait_for

STOPPED_BY_OURSELVES = 1


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def start():
    """Start loops in processes of their own, and kill at the end what is left of them."""
    processes = []

    def start(kind="goes_round", **settings):
        process = subprocess.Popen(
            [sys.executable, "-m", "apps.outbox.tests.loop_process", json.dumps(settings), kind],
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        wait_for(lambda: "runs" in process.stdout.readline())
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def probed(start):
    """Start a loop with an address, and return the process and what asks it."""
    clients = []

    def probed(kind="goes_round", **settings):
        url = f"http://127.0.0.1:{free_port()}"
        process = start(kind, METRICS_ADDRESS=url.removeprefix("http://"), **settings)
        client = httpx.Client(base_url=url, timeout=10, trust_env=False)
        clients.append(client)
        return process, client.get

    yield probed
    for client in clients:
        client.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_worker_finish(start, number):
    process = start()

    process.send_signal(number)
    written, _ = process.communicate(timeout=20)

    assert process.returncode == 0
    assert "finished" in written


def test_a_second_signal_ends_a_worker_that_hangs(start):
    process = start("hangs")

    process.send_signal(signal.SIGTERM)
    wait_for(lambda: "stopping" in process.stdout.readline())
    process.send_signal(signal.SIGTERM)

    assert process.wait(20) == 128 + signal.SIGTERM


def test_a_worker_that_hangs_is_ended_after_its_grace_period(start):
    process = start("hangs", STOP_GRACE_SECONDS=0.5)

    process.send_signal(signal.SIGTERM)

    assert process.wait(20) == STOPPED_BY_OURSELVES


def test_a_loop_that_goes_round_is_alive_and_ready(probed, tmp_path):
    path = tmp_path / "alive"
    _, ask = probed(LIVENESS_FILE=str(path))

    wait_for(lambda: ask("/readyz").status_code == 200)

    assert ask("/healthz").json() == {"status": "ok", "service": "gates"}
    assert path.exists()


def test_a_loop_that_hangs_is_neither_alive_nor_ready(probed, tmp_path):
    path = tmp_path / "alive"
    _, ask = probed("hangs", LIVENESS_FILE=str(path), LIVENESS_SECONDS=1)

    answer = wait_for(lambda: (found := ask("/healthz")).status_code == 503 and found)

    assert re.search(r"has not gone round for \d+ s", answer.json()["why"])
    assert ask("/readyz").status_code == 503
    touched = path.stat().st_mtime_ns
    wait_for(lambda: ask("/healthz").status_code == 503)
    assert path.stat().st_mtime_ns == touched


def test_a_loop_that_waits_for_a_server_is_alive_and_not_ready(probed):
    _, ask = probed("outage", LIVENESS_SECONDS=20)

    answer = wait_for(lambda: "nobody answers" in (found := ask("/readyz")).text and found)

    assert answer.status_code == 503
    assert ask("/healthz").status_code == 200
    assert 'outbox_outages_total{worker="loop"}' in ask("/metrics").text


def test_a_worker_that_stops_is_not_ready(probed):
    process, ask = probed("hangs")

    process.send_signal(signal.SIGTERM)

    wait_for(lambda: "It stops." in ask("/readyz").text)


def test_the_metrics_are_prometheus_text_and_other_addresses_are_unknown(probed):
    _, ask = probed()

    answer = ask("/metrics")

    assert answer.headers["content-type"].startswith("text/plain")
    assert "# TYPE outbox_pending gauge" in answer.text
    assert ask("/").status_code == 404
