from __future__ import annotations

import pytest

from apps.outbox.tests.sending import AVRO_DIR, Bench


@pytest.fixture
def gates(settings):
    """Let publish know the tests' own schemas, without any server but the database."""
    settings.AVRO_DIR = AVRO_DIR
    settings.OUTBOX_TRANSPORT = "relay"


@pytest.fixture
def sending(settings):
    """A topic of the test's own, with relays of the test database."""
    bench = Bench(settings)
    yield bench
    bench.close()
