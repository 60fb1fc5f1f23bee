"""The model is worth something only if it finds bugs: each of these is planted, and found."""

from __future__ import annotations

import pytest

from tests.model.defects import DEFECTS
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
    Settle,
    play,
)
from tests.model.world import Violation

WHOLE = DeliverAll()
PAY = Pay(0, GOOD, "", "any", 0, by_kill=False)
ANSWER_LOST = Pay(0, GOOD, "timeout_after", "confirm_intent", 0, by_kill=False)
FOUND_BY: dict[str, tuple[Scenario, str]] = {
    "release_whoever_holds_it": (
        (
            1,
            [Reserve(0, 0), Cancel(0), Reserve(1, 0), Deliver(4, 0, 0, by_kill=False), PAY],
            # The second order has the ticket before tickets hears of the first one's end.
            [
                Deliver(5, 0, 0, by_kill=False),
                Deliver(6, 0, 0, by_kill=False),
                Deliver(3, 0, 0, by_kill=False),
                Deliver(4, 1, 0, by_kill=False),
            ],
        ),
        "not ('sold'",
    ),
    "charge_again_when_unsure": ((1, [Reserve(0, 0), WHOLE], [ANSWER_LOST]), "nobody knows"),
    "refund_again_when_unsure": (
        (
            1,
            [Reserve(0, 0), WHOLE, PAY, WHOLE],
            [Refund(0, 1000, by_hand=False), Settle("timeout_after", "create_refund", 0)],
        ),
        "noted as given back",
    ),
    "answer_webhooks_without_storing": (
        (1, [Reserve(0, 0), WHOLE, PAY, WHOLE], [Refund(0, 1000, by_hand=True)]),
        "noted as given back",
    ),
    "ignore_late_money": (
        (1, [Reserve(0, 0), WHOLE, ANSWER_LOST], [Cancel(0), WHOLE]),
        "is kept of it",
    ),
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("defect", sorted(DEFECTS))
def test_a_planted_bug_is_found(stack: Stack, defect: str) -> None:
    scenario, words = FOUND_BY[defect]
    service, _ = DEFECTS[defect]
    play(stack, scenario)  # without the bug, all is well

    stack.workers[service].plant(defect)
    try:
        with pytest.raises(Violation) as found:
            play(stack, scenario)
    finally:
        stack.workers[service].plant("")

    assert words in str(found.value)
