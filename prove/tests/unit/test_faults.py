from __future__ import annotations

import random
from itertools import islice

from prove.faults import (
    HOUR,
    LINKS,
    LONGER_THAN_LEASES,
    MINUTES,
    PROCESSES,
    READERS,
    SERVERS,
    Fault,
    alone,
    mixed,
)
from prove.report import COLOURS, MEANINGS
from prove.storm import RAW, group_of
from ticketing.topics import CONSUMERS


def test_seed_repeats_the_choices() -> None:
    first, second = random.Random(7), random.Random(7)

    assert alone(first, whole=False) == alone(second, whole=False)
    assert list(islice(mixed(first), 50)) == list(islice(mixed(second), 50))


def test_short_run_has_every_kind_and_every_process_and_server() -> None:
    faults = alone(random.Random(7), whole=False)

    assert {fault.kind for fault in faults} >= MEANINGS.keys() - {"cut", "slow", "stall"}
    killed = {name for fault in faults if fault.kind == "kill" for name in fault.targets}
    assert killed == {*PROCESSES, *SERVERS}


def test_long_run_has_every_process_stopped_and_every_link_disturbed() -> None:
    faults = alone(random.Random(7), whole=True)

    stopped = {name for fault in faults if fault.kind == "stop" for name in fault.targets}
    assert stopped == set(PROCESSES)
    ways = {(fault.kind, *fault.targets) for fault in faults}
    assert ways >= {(kind, name) for kind in ("cut", "slow", "stall") for name in LINKS}


def test_process_is_stopped_for_longer_than_any_lease() -> None:
    faults = [*alone(random.Random(7), whole=True), *islice(mixed(random.Random(7)), 200)]

    assert all(fault.seconds >= LONGER_THAN_LEASES for fault in faults if fault.kind == "stop")


def test_clocks_of_all_processes_jump_by_an_hour_and_by_minutes_both_ways() -> None:
    jumps = [each for each in alone(random.Random(7), whole=True) if each.kind == "clock"]

    assert {name for jump in jumps for name in jump.targets} == set(PROCESSES)
    assert {jump.ahead for jump in jumps} == {-HOUR, -MINUTES, MINUTES, HOUR}


def test_clock_puts_nothing_off_for_longer_than_the_judge_waits() -> None:
    faults = [*alone(random.Random(7), whole=True), *islice(mixed(random.Random(7)), 1000)]

    assert max(fault.delays for fault in faults) == MINUTES
    late = Fault(kind="clock", targets=("orders-web",), ahead=MINUTES)
    harmless = Fault(kind="clock", targets=("tickets-relay",), ahead=HOUR)
    assert (late.delays, harmless.delays) == (MINUTES, 0)


def test_storm_comes_to_the_group_of_every_reader() -> None:
    groups = {group: topics for group, topics, _ in map(group_of, READERS)}

    assert groups == CONSUMERS | {f"{RAW}.worker": (RAW,)}


def test_mixed_faults_are_of_every_kind() -> None:
    assert {fault.kind for fault in islice(mixed(random.Random(7)), 1000)} == MEANINGS.keys()


def test_every_kind_has_a_colour_of_its_own() -> None:
    assert COLOURS.keys() == MEANINGS.keys()
    assert len(set(COLOURS.values())) == len(COLOURS)
