from __future__ import annotations

from pathlib import Path

from prove import report, soaking
from prove.load import Told
from prove.memory import MEGABYTE, Sample
from prove.run import Outcome, Plan
from prove.watching import Watch

SECONDS = 630


def make_outcome() -> Outcome:
    """Return a soak in which everything gets slower and larger by and by."""
    told = [
        Told(at=at, took=at / 1000, who="buyer", what="page", status=500 if at == 600 else 200)
        for at in range(SECONDS)
    ]
    samples = [
        Sample(at=at, name=name, pid=pid, memory=(50 + at // 10) * MEGABYTE, files=20)
        for at in range(0, SECONDS, 10)
        for name, pid in (("orders-web", 1), ("orders-web", 2), ("orders-raw", 3))
    ]
    plan = Plan(seed=7, soak=SECONDS)
    return Outcome(plan=plan, began=0, ended=SECONDS, told=told, watch=Watch(samples=samples))


def test_first_third_stands_beside_the_last_without_the_start():
    rows = {name: (first, last) for name, first, last in soaking.third_rows(make_outcome())}

    assert rows["requests a second"] == ("1.0", "1.0")
    assert rows["without an answer, or 5xx"] == ("0", "1")
    assert rows["p50 ms"] == ("130", "529")
    assert rows["memory of all processes, MB"] == ("189", "308")
    assert rows["open files and connections"] == ("60", "60")


def test_kind_of_process_holds_what_all_of_it_hold():
    moments = soaking.held(make_outcome().watch.samples)

    assert moments["orders-web"][0] == (100 * MEGABYTE, 40)
    assert moments["orders-raw"][0] == (50 * MEGABYTE, 20)


def test_page_of_a_soak_has_its_thirds_and_a_picture(tmp_path: Path):
    page, picture = report.write(make_outcome(), tmp_path)

    text = page.read_text(encoding="utf-8")
    assert "| p95 ms |" in text
    assert "| orders-web |" in text
    assert "kill" not in text
    assert "orders-raw" in report.for_terminal(make_outcome())
    assert picture.read_text(encoding="utf-8").startswith("<?xml")
