"""Relays in processes of their own that are told to stop in the midst of their work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from django.db import connection

from apps.outbox.models import OutboxEvent, RelayMember, RelaySlot
from apps.outbox.tests.sending import AVRO_DIR, publish_all, versions_of, wait_for

pytestmark = pytest.mark.django_db(transaction=True)

KEYS = 20
VERSIONS = 50


@pytest.fixture
def start():
    processes = []

    def start(name):
        options = {
            "database": connection.settings_dict["NAME"],
            "avro_dir": str(AVRO_DIR),
            "owner": name,
            "batch": 10,
            "lease_seconds": 20.0,
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
    return OutboxEvent.objects.filter(state=OutboxEvent.State.PUBLISHED).count()


def test_relay_told_to_stop_in_the_midst_leaves_nothing_to_repeat(sending, start):
    for version in range(1, VERSIONS + 1):
        publish_all(*[sending.opened(f"gate-{n}", version) for n in range(KEYS)])
    total = KEYS * VERSIONS

    process = start("first")
    wait_for(lambda: published() >= total // 10)
    process.send_signal(signal.SIGTERM)
    status = process.wait(20)
    done = published()

    assert status == 0
    assert done >= total // 10
    assert sending.sent() == done
    assert not RelayMember.objects.exists()
    assert not RelaySlot.objects.exclude(owner="").exists()
    start("second")
    wait_for(lambda: published() == total, seconds=90)
    versions = versions_of(sending.records(count=total))
    assert list(versions.values()) == [list(range(1, VERSIONS + 1))] * KEYS
