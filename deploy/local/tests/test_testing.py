from __future__ import annotations

import pytest

from deploy.local import testing
from deploy.local.errors import CannotContinue
from deploy.local.testing import PARTS, Tally, count, usual_parts

REPORT = (
    '<testsuites><testsuite name="pytest" tests="10" failures="2" errors="1" skipped="1"/>'
    "</testsuites>"
)


@pytest.fixture
def report(tmp_path):
    path = tmp_path / "part.xml"
    path.write_text(REPORT)
    return path


def test_tests_are_counted_over_all_parts(report):
    tally = Tally()

    tally.add("orders", 1, report)
    tally.add("tickets", 1, report)

    assert tally.line() == "12 passed, 6 failed, 2 skipped"
    assert tally.bad_parts == ("orders", "tickets")


def test_a_part_that_broke_before_its_first_test_has_failed(tmp_path):
    tally = Tally()

    tally.add("orders", 4, tmp_path / "none.xml")

    assert tally.line() == "0 passed, 1 failed"


def test_a_report_that_is_not_there_counts_nothing(tmp_path):
    assert count(tmp_path / "none.xml") == Tally()


def test_an_unknown_part_is_refused_with_the_known_ones():
    with pytest.raises(CannotContinue, match=r"'ordres' is no part\. There are: local, "):
        testing.run(["ordres"])


def test_every_service_has_a_part():
    services = {part.service for part in PARTS.values()}

    assert {"auth", "tickets", "orders", "payments", "expiration"} <= services


def test_parts_that_need_an_engine_run_when_they_are_named():
    assert set(PARTS) - set(usual_parts()) == {"images", "orders-containers"}
