"""Writers, relays and consumers are killed and paused at random; then every promise is checked.

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

SECONDS = float(os.environ.get("OUTBOX_CHAOS_SECONDS", "8"))
SEED = os.environ.get("OUTBOX_CHAOS_SEED")
SEEDS = (2026, "random") if SEED is None else (int(SEED),)


@pytest.fixture
def directory():
    """Return a directory that no other run of pytest tidies up meanwhile."""
    with TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.timeout(SECONDS + 400)
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_invented_torn_reordered_or_doubled(sending, seed, directory):
    seed = random.randrange(10**6) if seed == "random" else seed
    print(f"OUTBOX_CHAOS_SEED={seed}")  # noqa: T201 (to see it again, when it fails)
    chaos = Chaos(sending, seed, directory)
    try:
        chaos.run(SECONDS)
        chaos.drain()
    finally:
        chaos.close()

    history = chaos.history()
    outcomes = {transaction.outcome for transaction in history.transactions}
    violations = check(history)

    assert outcomes >= {Outcome.COMMITTED, Outcome.ABORTED}
    assert not violations, report(violations)
    assert chaos.crashes == []
    assert chaos.effects_that_went_back() == []
