from __future__ import annotations

import pytest

from apps.outbox.tests.receiving import Bench


@pytest.fixture
def bench():
    """Topics and a consumer group of the test's own."""
    bench = Bench()
    yield bench
    bench.close()
