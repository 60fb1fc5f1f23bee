from __future__ import annotations

import pytest
import structlog

from apps.outbox import metrics
from apps.outbox.codec import Codec
from apps.outbox.models import DeadLetter
from apps.outbox.registry import Registry
from apps.outbox.tests.failing_registry import failing_registry
from apps.outbox.tests.receiving import Crowd, read_until, times_lit

pytestmark = pytest.mark.django_db(transaction=True)

failing = pytest.fixture(failing_registry)


def outages():
    return metrics.outages.labels("consumer")._value.get()


def test_registry_that_answers_500_spends_no_attempt_and_loses_nothing(bench, settings, failing):
    lamp = bench.send_lamp()
    settings.SCHEMA_REGISTRY_URL = failing
    crowd = Crowd(bench)
    waiting = crowd.add(decoder=Codec(Registry.from_settings()))
    before = outages()

    with structlog.testing.capture_logs() as logs:
        read_until(waiting, lambda: outages() >= before + 2)
    in_the_meantime = times_lit(lamp)
    crowd.close()
    read_until(crowd.add(), lambda: times_lit(lamp) == 1)
    crowd.close()

    assert in_the_meantime == 0
    assert not DeadLetter.objects.exists()
    [said, *_] = [each for each in logs if each["event"] == "partition_waits"]
    assert (said["log_level"], "out of order" in said["error"]) == ("warning", True)
