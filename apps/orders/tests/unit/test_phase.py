from __future__ import annotations

from datetime import timedelta

import pytest

from apps.orders.models import Order
from apps.orders.tests.factories import NOON, WINDOW, make_order
from apps.orders.web.phase import Phase, tell_phase

Status = Order.Status
AFTER = NOON + WINDOW
ENDED_PAID = {"status": Status.CANCELLED, "payment_id": "p1"}


@pytest.mark.parametrize(
    ("facts", "now", "since", "phase"),
    [
        ({}, NOON, None, Phase.RESERVED),
        ({"payment_failure": "declined"}, NOON, None, Phase.DECLINED),
        ({"open_payment_id": "p1"}, NOON, None, Phase.CONFIRMING),
        ({"open_payment_id": "p1", "expired_at": AFTER}, AFTER, None, Phase.CONFIRMING),
        ({}, AFTER, None, Phase.ENDING),
        ({"expired_at": AFTER}, NOON, None, Phase.ENDING),
        ({"payment_failure": "declined"}, AFTER, None, Phase.ENDING),
        ({"status": Status.COMPLETE}, NOON, None, Phase.PAID),
        ({"status": Status.COMPLETE, "cancelled_at": NOON}, NOON, None, Phase.REVIVED),
        ({"status": Status.CANCELLED, "cancel_reason": "buyer"}, NOON, None, Phase.CANCELLED),
        ({"status": Status.CANCELLED, "cancel_reason": "expired"}, NOON, 4, Phase.EXPIRED),
        ({**ENDED_PAID, "cancel_reason": "buyer"}, NOON, None, Phase.GIVEN_BACK),
        ({**ENDED_PAID, "cancel_reason": "refunded"}, NOON, 4, Phase.REFUNDED),
    ],
)
def test_phase_of_an_order(facts, now, since, phase):
    assert tell_phase(make_order(**facts), now=now, confirming_since=since) is phase


def test_buyer_who_comes_from_paying_reads_that_the_payment_is_being_confirmed():
    assert tell_phase(make_order(), now=NOON, confirming_since=0) is Phase.CONFIRMING


def test_failure_of_an_earlier_card_is_not_shown_as_the_outcome_of_the_later_one():
    order = make_order(payment_failure="declined", payment_version=2)

    assert tell_phase(order, now=NOON, confirming_since=2) is Phase.CONFIRMING


def test_failure_that_comes_while_confirming_is_shown():
    order = make_order(payment_failure="declined", payment_version=2)

    assert tell_phase(order, now=NOON, confirming_since=1) is Phase.DECLINED


def test_deadline_itself_is_too_late():
    order = make_order()

    assert tell_phase(order, now=order.expires_at, confirming_since=None) is Phase.ENDING
    before = order.expires_at - timedelta(milliseconds=1)
    assert tell_phase(order, now=before, confirming_since=None) is Phase.RESERVED


def test_only_an_order_that_waits_for_its_buyer_offers_to_pay_or_cancel():
    offers = {phase for phase in Phase if phase.waits_for_buyer}

    assert offers == {Phase.RESERVED, Phase.DECLINED}
