from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings

from apps.outbox.tests.receiving import times_lit, wait_for

pytestmark = pytest.mark.django_db(transaction=True)

PROCESS = """
import sys, types
from django.conf import settings
topic, group, database, liveness = sys.argv[1:]
settings.DATABASES["default"]["NAME"] = database
settings.CONSUMER_GROUP = group
settings.EVENT_HANDLERS = "bench_handlers.HANDLERS"
settings.LIVENESS_FILE = liveness
import django
django.setup()

from django.core.management import call_command
from apps.outbox.tests.receiving import event_class, light

sys.modules["bench_handlers"] = types.SimpleNamespace(HANDLERS={event_class(topic): light})
call_command("consume_events")
"""


def test_the_process_reads_until_it_is_told_to_stop(bench, tmp_path):
    lamp = bench.send_lamp()
    liveness = tmp_path / "alive"
    name = connection.settings_dict["NAME"]
    command = [sys.executable, "-c", PROCESS, bench.topic, bench.group, name, str(liveness)]

    with subprocess.Popen(command, cwd=settings.BASE_DIR, env=os.environ) as process:
        wait_for(lambda: times_lit(lamp) == 1 or process.poll() is not None)
        process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=20)

    assert status == 0
    assert liveness.exists()
    assert bench.committed() == 1


def test_a_service_that_reads_nothing_has_no_such_process():
    with (
        override_settings(EVENT_HANDLERS=""),
        pytest.raises(CommandError, match="EVENT_HANDLERS is empty"),
    ):
        call_command("consume_events")
