"""Each rule finds the fault that it is there for, and nothing where there is none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from prove.facts import Facts
from prove.rules import RULES, check
from prove.tests.unit.factories import (
    BUYER,
    CANCELLED,
    CENTS,
    FREE,
    LATE,
    PAID,
    SOLD,
    make_attempt,
    make_charge,
    make_entry,
    make_facts,
    make_intent,
    make_letter,
    make_order,
    make_told,
)


def sell_twice(facts: Facts) -> None:
    facts.orders[LATE]["status"] = "complete"


def keep_hold(facts: Facts) -> None:
    facts.orders[CANCELLED]["status"] = "created"


def hold_for_nobody(facts: Facts) -> None:
    facts.tickets[FREE] |= {"order_id": CANCELLED, "holds": [CANCELLED], "status": "reserved"}


def forget_sale(facts: Facts) -> None:
    facts.tickets[SOLD] |= {"order_id": None, "holds": [], "status": "free"}


def charge_twice(facts: Facts) -> None:
    facts.charges.append(make_charge(PAID, number=2))


def charge_too_much(facts: Facts) -> None:
    facts.charges[0]["amount"] = CENTS + 1


def keep_late_money(facts: Facts) -> None:
    facts.charges[1]["amount_refunded"] = 0


def refund_half(facts: Facts) -> None:
    facts.charges[1]["amount_refunded"] = CENTS // 2


def charge_unknown_order(facts: Facts) -> None:
    facts.intents.append(make_intent("order-of-nobody"))


def lose_attempt(facts: Facts) -> None:
    facts.attempts.pop(0)


def leave_attempt_open(facts: Facts) -> None:
    facts.attempts.append(make_attempt(CANCELLED, status="pending"))


def leave_intent_open(facts: Facts) -> None:
    facts.intents[1]["status"] = "requires_action"


def unbalance_refund(facts: Facts) -> None:
    facts.ledger[2]["lines"][1]["cents"] -= 1


def forget_refund_entry(facts: Facts) -> None:
    facts.ledger.pop()


def enter_refund_twice(facts: Facts) -> None:
    facts.ledger.append(make_entry(LATE, -CENTS, kind="refund"))


def let_copy_lag(facts: Facts) -> None:
    facts.copies[SOLD]["version"] -= 1


def lose_copy(facts: Facts) -> None:
    del facts.copies[FREE]


def invent_copy(facts: Facts) -> None:
    del facts.tickets[FREE]


def lose_event_of_order(facts: Facts) -> None:
    del facts.payments[CANCELLED]


def mistake_attempt(facts: Facts) -> None:
    facts.orders[PAID]["payment_id"] = "another-attempt"


def leave_payment_open(facts: Facts) -> None:
    facts.payments[CANCELLED]["state"] = "closing"


def forget_alarm(facts: Facts) -> None:
    facts.deadlines[PAID]["state"] = "armed"


def lose_user(facts: Facts) -> None:
    del facts.users[BUYER]


def lose_order(facts: Facts) -> None:
    facts.told.append(make_told("reserve", 201, "order-lost", ticketId=SOLD))


def lose_ticket(facts: Facts) -> None:
    facts.told.append(make_told("list", 201, "ticket-lost", title="Row 1", price=12.5))


def change_price(facts: Facts) -> None:
    facts.told.append(make_told("list", 201, SOLD, title="Row 1", price=12.51))


def give_order_of_other(facts: Facts) -> None:
    facts.orders[PAID]["buyer_id"] = "somebody-else"


def take_no_money(facts: Facts) -> None:
    facts.told.append(make_told("pay", 201, CANCELLED, id="attempt-lost"))


def say_paid(facts: Facts) -> None:
    facts.told.append(make_told("pay", 400, CANCELLED, errors=[{"code": "order_already_paid"}]))


def forget_cancellation(facts: Facts) -> None:
    facts.told.append(make_told("cancel", 204, PAID))


def lose_letter(facts: Facts) -> None:
    facts.letters.pop()


def write_letter_twice(facts: Facts) -> None:
    facts.letters.append(facts.letters[0])


def give_up_good_event(facts: Facts) -> None:
    facts.letters.append(make_letter("ticketing.payments", "good-event"))


def leave_parked(facts: Facts) -> None:
    facts.waiting["payments: parked"] = 1


PLANTED_FAULTS: dict[str, tuple[Callable[[Facts], None], ...]] = {
    "sold once": (sell_twice,),
    "hold ends": (keep_hold, hold_for_nobody, forget_sale),
    "charged once": (charge_twice,),
    "money fits": (charge_too_much, keep_late_money, refund_half),
    "known money": (charge_unknown_order, lose_attempt, leave_attempt_open, leave_intent_open),
    "ledger": (unbalance_refund, forget_refund_entry, enter_refund_twice),
    "read models": (
        *(let_copy_lag, lose_copy, invent_copy, lose_event_of_order, mistake_attempt),
        *(leave_payment_open, forget_alarm),
    ),
    "told is true": (
        *(lose_user, lose_order, lose_ticket, change_price, give_order_of_other),
        *(take_no_money, say_paid, forget_cancellation),
    ),
    "dead letters": (lose_letter, write_letter_twice, give_up_good_event),
    "rest": (leave_parked,),
}


def test_good_run_breaks_no_rule() -> None:
    assert check(make_facts()) == []


def test_every_rule_is_tested_by_a_planted_fault() -> None:
    assert PLANTED_FAULTS.keys() == RULES.keys()


@pytest.mark.parametrize(
    ("rule", "plant"),
    [
        pytest.param(rule, plant, id=plant.__name__)
        for rule, plants in PLANTED_FAULTS.items()
        for plant in plants
    ],
)
def test_planted_fault_is_found(rule: str, plant: Callable[[Facts], None]) -> None:
    facts = make_facts()

    plant(facts)

    assert rule in {violation.rule for violation in check(facts)}


def test_cancelled_order_may_be_revived_by_a_payment_that_was_under_way() -> None:
    facts = make_facts()
    facts.orders[PAID] = make_order(ticket_id=SOLD, status="complete") | {
        "cancelled_at": facts.orders[CANCELLED]["cancelled_at"]
    }

    facts.told.append(make_told("cancel", 204, PAID))

    assert check(facts) == []
