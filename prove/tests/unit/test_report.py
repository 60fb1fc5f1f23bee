from __future__ import annotations

from collections import Counter
from pathlib import Path

from prove import report
from prove.faults import Done, Fault
from prove.load import Told
from prove.rules import RULES, Violation
from prove.run import Outcome, Plan
from prove.verdict import Verdict


def make_outcome(*violations: Violation) -> Outcome:
    told = [
        Told(at=at, took=0.1, who="buyer", what="page", status=0 if at == 15 else 200)
        for at in range(30)
    ]
    killed = Fault(kind="kill", targets=("mongod",), seconds=4)
    return Outcome(
        plan=Plan(seed=7),
        began=0,
        ended=30,
        told=told,
        done=[Done(fault=killed, began=13, ended=17, is_mixed=False)],
        verdict=Verdict(
            rest=12,
            violations=list(violations),
            counts=Counter({"events": 90, "effects": 200}),
        ),
    )


def test_cost_of_a_fault_is_told_beside_that_of_none() -> None:
    none, kill = report.fault_rows(make_outcome())

    assert none[:2] == ("none", "")
    assert none[4] == "0 (0.0%)"
    assert kill[:2] == ("kill", "1")
    assert kill[4].startswith("1 (")


def test_page_has_rules_violations_and_a_picture(tmp_path: Path) -> None:
    broken = Violation(rule="sold once", subject="ticket 1", evidence="two orders")

    page, picture = report.write(make_outcome(broken), tmp_path)

    text = page.read_text(encoding="utf-8")
    assert all(rule in text for rule in RULES)
    assert "| sold once | at most one order has a claim on a ticket | 1 |" in text
    assert "ticket 1: two orders" in text
    assert "seed 7" in text
    assert picture.read_text(encoding="utf-8").startswith("<?xml")


def test_terminal_is_told_the_first_violations() -> None:
    broken = Violation(rule="ledger", subject="order 1", evidence="sums to 1 cents")

    assert "ledger: order 1: sums to 1 cents" in report.for_terminal(make_outcome(broken))
