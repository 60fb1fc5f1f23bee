"""Paid once, or refunded: in whatever order things happen (docs/states.md)."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings

from tests.model.processes import Stack
from tests.model.steps import (
    GOOD,
    Cancel,
    Deliver,
    DeliverAll,
    Pay,
    Refund,
    Reserve,
    Scenario,
    play,
    scenarios,
)

# What 2,000 scenarios found: a killed process leaves a transaction open, and its documents locked.
PAID_AGAIN_AFTER_A_KILL: Scenario = (
    1,
    [
        Reserve(0, 0),
        DeliverAll(),
        Pay(0, GOOD, "", "any", crash_at=1, by_kill=True),
        Pay(0, GOOD, "", "any", crash_at=0, by_kill=False),
    ],
    [],
)
# Staff and then orders want all of the money back, and somebody gives a part of it by hand.
GIVEN_BY_HAND_MEANWHILE: Scenario = (
    1,
    [Reserve(0, 0), DeliverAll(), Pay(0, GOOD, "", "any", crash_at=0, by_kill=False)],
    [
        Refund(0, 4200, by_hand=False),
        Deliver(0, 0, 0, by_kill=False),
        Cancel(0),
        Reserve(1, 0),
        Refund(0, 100, by_hand=True),
    ],
)
SCENARIOS = int(os.environ.get("MODEL_SCENARIOS", "25"))


@pytest.mark.timeout(120 + 20 * SCENARIOS)
@settings(
    max_examples=SCENARIOS,
    deadline=None,
    database=None,
    # The same scenarios with each run of the short profile; others each time in a long one.
    derandomize="MODEL_SCENARIOS" not in os.environ,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    print_blob=True,
)
@example(scenario=PAID_AGAIN_AFTER_A_KILL)
@example(scenario=GIVEN_BY_HAND_MEANWHILE)
@given(scenario=scenarios)
def test_every_promise_is_kept_however_things_interleave(stack: Stack, scenario: Scenario) -> None:
    play(stack, scenario)
