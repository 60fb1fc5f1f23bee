from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid

import pytest
from django.db import connection

from apps.outbox.models import OutboxEvent, RelayMember, RelaySlot
from apps.outbox.slots import slot_of
from apps.outbox.tests.sending import (
    AVRO_DIR,
    first_deliveries,
    publish_all,
    versions_of,
    wait_for,
)

pytestmark = pytest.mark.django_db(transaction=True)

State = OutboxEvent.State
KEYS = 20
VERSIONS = 25
KILLS = 3
BATCH = 10
# One batch with Kafka, one that is being marked, and one that waits for that.
MOST_IN_FLIGHT = 3 * BATCH
LEASE_SECONDS = 1.0


@pytest.fixture
def start():
    """Start relay processes on the test's database, and kill at the end what is left of them."""
    processes = []

    def start():
        options = {
            "database": connection.settings_dict["NAME"],
            "avro_dir": str(AVRO_DIR),
            "owner": uuid.uuid4().hex,
            "batch": BATCH,
            "lease_seconds": LEASE_SECONDS,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "apps.outbox.tests.relay_process", json.dumps(options)],
            env=os.environ | {"LOG_LEVEL": "WARNING"},
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


def published():
    return OutboxEvent.objects.filter(state=State.PUBLISHED).count()


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_relay_killed_in_the_midst_loses_nothing_and_keeps_each_keys_order(sending, start):
    for version in range(1, VERSIONS + 1):
        publish_all(*[sending.opened(f"gate-{n}", version) for n in range(KEYS)])
    total = KEYS * VERSIONS

    for part in range(1, KILLS + 1):
        process = start()
        wait_for(lambda part=part: published() >= total * part // 5)
        kill(process)
    start()
    wait_for(lambda: published() == total, seconds=90)

    versions = versions_of(sending.records(count=total))
    assert versions.keys() == {f"gate-{n}" for n in range(KEYS)}
    for of_key in versions.values():
        assert first_deliveries(of_key) == list(range(1, VERSIONS + 1))
    # Nearly always none: whoever takes over looks for what its predecessor had sent.
    assert sum(map(len, versions.values())) - total <= KILLS * MOST_IN_FLIGHT


def test_standby_takes_over_from_a_killed_relay(sending, start):
    first = start()
    publish_all(sending.opened("north", 1))
    wait_for(lambda: published() == 1)
    epoch = slot("north").epoch
    kill(first)
    start()

    publish_all(sending.opened("north", 2))
    wait_for(lambda: published() == 2)

    assert slot("north").epoch == epoch + 1
    assert RelayMember.objects.count() == 1
    assert versions_of(sending.records(count=2)) == {"north": [1, 2]}


def test_stopped_relay_that_wakes_up_late_does_no_harm(sending, start):
    first = start()
    publish_all(sending.opened("north", 1))
    wait_for(lambda: published() == 1)
    owner = RelayMember.objects.get().owner

    first.send_signal(signal.SIGSTOP)
    start()
    publish_all(sending.opened("north", 2))
    wait_for(lambda: published() == 2)
    first.send_signal(signal.SIGCONT)
    publish_all(sending.opened("north", 3))
    wait_for(lambda: published() == 3)
    wait_for(lambda: RelayMember.objects.count() == 2)

    assert versions_of(sending.records(count=3)) == {"north": [1, 2, 3]}
    assert not RelayMember.objects.filter(owner=owner).exists()


def test_relay_ends_on_sigterm_and_frees_its_slots(sending, start):
    process = start()
    publish_all(sending.opened("north"))
    wait_for(lambda: published() == 1)

    process.terminate()

    assert process.wait(30) == 0
    assert not RelayMember.objects.exists()
    assert not RelaySlot.objects.exclude(owner="").exists()


def slot(key):
    return RelaySlot.objects.get(number=slot_of(key))
