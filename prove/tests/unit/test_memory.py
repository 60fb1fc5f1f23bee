"""Who holds ever more is found, whoever only starts, works or is started anew is not."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from prove.memory import GROWTH, LONG_ENOUGH_SECONDS, MEGABYTE, START_SECONDS, Sample, judge, lives

HELD, OPEN = 80 * MEGABYTE, 40
EVERY = 2
NAME = "orders-relay"


def make_samples(
    *,
    seconds: float = 600,
    memory: Callable[[float], float] = lambda _at: HELD,
    files: Callable[[float], float] = lambda _at: OPEN,
    pid: int = 1,
) -> list[Sample]:
    return [
        Sample(at=at, name=NAME, pid=pid, memory=int(memory(at)), files=int(files(at)))
        for at in range(0, int(seconds), EVERY)
    ]


def test_process_that_holds_what_it_holds_is_not_found():
    chance = random.Random(7)

    def hold(_at: float) -> float:
        return HELD * (1 + chance.uniform(-GROWTH, GROWTH) / 2)

    assert list(judge(make_samples(memory=hold))) == []


def test_leak_of_memory_is_found():
    [found] = judge(make_samples(memory=lambda at: HELD + at * 30_000))

    assert (found.rule, found.subject) == ("memory", NAME)
    assert "MB" in found.evidence


def test_leak_of_connections_is_found():
    [found] = judge(make_samples(files=lambda at: OPEN + at / 15))

    assert "open files and connections" in found.evidence


@pytest.mark.parametrize(
    "memory",
    [
        pytest.param(lambda at: min(HELD, HELD / 2 + at * MEGABYTE), id="start"),
        pytest.param(lambda at: HELD * (1.3 if at > 300 else 1), id="step in the middle"),
        pytest.param(lambda at: HELD * (1.3 if at > 550 else 1), id="step at the end"),
        pytest.param(lambda at: HELD * (2 if at % 60 == 0 else 1), id="peaks"),
    ],
)
def test_growth_that_ends_is_no_leak(memory):
    assert list(judge(make_samples(memory=memory))) == []


def test_process_that_was_started_anew_is_another_one():
    small, large = make_samples(seconds=300), make_samples(seconds=300, pid=2)
    grown = [
        Sample(at=each.at + 300, name=NAME, pid=2, memory=2 * HELD, files=3 * OPEN)
        for each in large
    ]

    assert list(judge([*small, *grown])) == []


def test_process_that_lived_briefly_is_not_judged():
    seconds = START_SECONDS + LONG_ENOUGH_SECONDS - EVERY

    assert lives(make_samples(seconds=seconds, memory=lambda at: HELD * (1 + at))) == []


def test_who_grew_most_comes_first():
    grown = make_samples(pid=2, memory=lambda at: HELD * (1.2 if at > 500 else 1))

    first, second = lives([*make_samples(), *grown])

    assert first.growth == pytest.approx(0.2)
    assert second.growth == 0
