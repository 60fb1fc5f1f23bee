from __future__ import annotations

import json

import pytest

from bench import report
from bench.latency import latencies
from bench.plots import plot_all
from bench.results import Goal, Result, Run, quantile, quantiles, rates_table, show, spread
from bench.rows import COLUMNS, Load
from bench.topic import Ledger, NotVerified, Span


def ledger_of(*records, expected=None):
    ledger = Ledger(expected or {b"a": 2, b"b": 1})
    for key, version in records:
        ledger.add(key, version)
    return ledger


def test_ledger_takes_every_key_in_its_order():
    ledger = ledger_of((b"a", 1), (b"b", 1), (b"a", 2))

    ledger.prove()
    assert ledger.is_complete


@pytest.mark.parametrize(
    ("records", "what"),
    [
        ([(b"a", 1), (b"a", 2)], "1 are missing"),
        ([(b"a", 1), (b"a", 2), (b"b", 1), (b"a", 2)], "1 came again"),
        ([(b"a", 2), (b"a", 1), (b"b", 1)], "1 came before"),
        ([(b"a", 1), (b"a", 1), (b"a", 2), (b"b", 1)], "1 came again"),
    ],
    ids=["lost", "doubled", "out of order", "doubled in the midst"],
)
def test_ledger_refuses_what_is_not_whole(records, what):
    with pytest.raises(NotVerified, match=what):
        ledger_of(*records).prove()


def test_ledger_leaves_other_runs_records_out():
    ledger = ledger_of((b"stranger", 7), (b"a", 1), (b"a", 2), (b"b", 1))

    ledger.prove()
    assert (ledger.seen, ledger.strangers) == (3, 1)


def test_load_gives_each_key_its_versions_in_turn():
    load = Load(events=7, keys=3, topic="t")
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in load.rows()]
    ledger = Ledger(load.expected())

    for row in rows:
        assert row["topic"] == "t"
        assert json.loads(row["payload"])["version"] == row["version"]
        ledger.add(row["key"].encode(), row["version"])

    ledger.prove()
    assert sorted(load.expected().values()) == [2, 2, 3]


def test_load_with_fewer_events_than_keys_has_one_event_a_key():
    assert list(Load(events=2, keys=10, topic="t").expected().values()) == [1, 1]


def test_rate_is_of_what_came_after_the_first_moment():
    times = [0, 0, 500, 1000]

    assert Span(times).rate() == 2.0
    assert Span(times).rate(skipped=0.5) == 2.0


def test_rate_of_a_single_moment_is_not_nothing():
    assert Span([5, 5]).rate() == 2000.0


def test_latencies_leave_the_first_events_out_and_miss_none():
    committed = [(str(i), "k", i + 1, float(i)) for i in range(10)]
    arrived = {str(i): i + 0.002 for i in range(10)}

    assert latencies(committed, arrived) == pytest.approx([2.0] * 8)
    del arrived["9"]
    with pytest.raises(NotVerified, match="1 of 8"):
        latencies(committed, arrived)


def test_quantiles_go_from_the_smallest_to_the_largest():
    values = quantiles([3.0, 1.0, 2.0], 4)

    assert values == [1.0, 1.0, 2.0, 3.0, 3.0]
    assert (quantile(values, 0.5), quantile(values, 1.0)) == (2.0, 3.0)


def test_spread_is_a_share_of_the_largest():
    assert spread([80.0, 100.0, 90.0]) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("goal", "verdict"),
    [
        (Goal(what="", wanted=0.9, found=0.91), "reached"),
        (Goal(what="", wanted=0.9, found=0.89), "MISSED"),
        (Goal(what="", wanted=6, found=5.9, is_most=True), "reached"),
        (Goal(what="", wanted=6, found=6.1, is_most=True), "MISSED"),
        (Goal(what="", wanted=1.5, found=1.0, is_prize=True), "not won"),
        (Goal(what="", wanted=1.5, found=1.6, is_prize=True), "won"),
    ],
)
def test_goal_knows_whether_it_is_reached(goal, verdict):
    assert goal.verdict == verdict


@pytest.fixture
def results(tmp_path):
    """Results of made-up runs, written as the benchmarks write theirs."""
    relay = Result(name="relay", title="Draining", command="bench relay", parameters={"events": 9})
    for name, rates in {"relay, MongoDB": (10.0, 20.0), "bare loop": (40.0, 30.0)}.items():
        relay.runs += [
            Run(name=name, events=9, rate=rate, cpu_us={"mongod": 3.0, "kafka": 2.0})
            for rate in rates
        ]
    relay.tables.append(rates_table(relay, {"relay, MongoDB": ("bare loop",)}))
    relay.goals.append(
        Goal(what="half", wanted=0.5, found=relay.ratio("relay, MongoDB", "bare loop"))
    )
    latency = Result(name="latency", title="Latency", command="bench latency", parameters={})
    latency.runs.append(
        Run(name="Debezium", events=3, values={"quantiles_ms": quantiles([1.0, 2.0, 9.0])})
    )
    for result in (relay, latency):
        result.write(tmp_path / "results")
    return tmp_path / "results"


def test_quietest_repetition_decides(results):
    relay = Result.read(results / "relay.json")

    assert relay.best("bare loop").rate == 40.0
    assert [goal.verdict for goal in relay.goals] == ["reached"]
    assert "0.50 of bare loop" in show(relay)


def test_report_fills_in_what_there_are_results_of(results, tmp_path):
    page = tmp_path / "benchmarks.md"
    page.write_text(
        "before\n<!-- relay -->\nold\n<!-- /relay -->\n<!-- raw -->\nkept\n<!-- /raw -->"
    )

    report.write(results, page, tmp_path / "images")

    text = page.read_text()
    assert text.startswith("before\n")
    assert "old" not in text
    assert "`bench relay`" in text
    assert "0.50 of bare loop" in text
    assert "kept" in text


def test_pictures_are_the_same_for_the_same_numbers(results, tmp_path):
    found = {path.stem: Result.read(path) for path in results.glob("*.json")}

    first, second = (
        {path.name: path.read_bytes() for path in plot_all(found, tmp_path / name)}
        for name in ("first", "second")
    )

    assert first == second
    assert set(first) == {"bench-relay.svg", "bench-cpu.svg", "bench-latency.svg"}
