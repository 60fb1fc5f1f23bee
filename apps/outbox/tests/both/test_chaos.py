"""Writers, relays and consumers are killed and paused, and clocks jump; every promise is checked.

OUTBOX_CHAOS_SECONDS and OUTBOX_CHAOS_SEED make it longer, or the same again.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from apps.outbox.testing.checker import check, report
from apps.outbox.testing.history import Outcome
from apps.outbox.tests.chaos import Chaos

pytestmark = pytest.mark.django_db(transaction=True)

SECONDS = float(os.environ.get("OUTBOX_CHAOS_SECONDS", "6"))
SEED = os.environ.get("OUTBOX_CHAOS_SEED")
# By the lease alone a record may be repeated late; a relay that brokers shut out repeats nothing.
RUNS = [("lease", SEED or 2026), ("broker", SEED or "random")]


@pytest.fixture
def directory():
    """Return a directory that no other run of pytest tidies up meanwhile."""
    with TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.timeout(SECONDS + 400)
@pytest.mark.parametrize(("fencing", "seed"), RUNS)
def test_nothing_is_lost_invented_torn_reordered_or_doubled(sending, directory, fencing, seed):
    seed = random.randrange(10**6) if seed == "random" else int(seed)
    print(f"OUTBOX_CHAOS_SEED={seed}")  # noqa: T201 (to see it again, when it fails)
    chaos = Chaos(sending, seed, directory, is_fenced=fencing == "broker")
    try:
        chaos.run(SECONDS)
        chaos.drain()
    finally:
        chaos.close()

    history = chaos.history()
    outcomes = {transaction.outcome for transaction in history.transactions}
    violations = check(history, strict=fencing == "broker")

    assert outcomes >= {Outcome.COMMITTED, Outcome.ABORTED}
    assert not violations, report(violations)
    assert chaos.crashes == []
    assert chaos.effects_that_went_back() == []
