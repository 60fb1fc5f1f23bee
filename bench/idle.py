"""A relay with nothing to do: its processor time, and how often it asks."""

from __future__ import annotations

import time

from bench.processes import stopped_at_the_end, wait_until
from bench.relay import RELAYS
from bench.results import Goal, Result, Run
from bench.rows import Load
from bench.session import Session
from bench.statements import statements_of

MOST_OF_A_CORE = 0.01
MOST_A_SECOND = 6.0  # a poll each second, which may look at slots, members and rows
SECONDS_TO_SETTLE = 3.0
EVENTS = 10


def run(session: Session, command: str) -> Result:
    seconds = session.sizes.seconds
    result = Result(
        name="idle",
        title="Idling",
        command=command,
        parameters={"seconds": seconds},
        notes=["Both relays idle at the same time. MongoDB's profiler does not see commits."],
    )
    stores = session.stores()
    log = session.servers.log_of("postgres")
    counters = [statements_of(database, log) for database in stores]
    topics = [session.topic() for _ in stores]
    for database, topic in zip(stores, topics, strict=True):
        # A few events, so that everything is loaded and connected.
        database.load(Load(EVENTS, EVENTS, topic.name))
    relays = [session.relay(*pair) for pair in zip(stores, topics, strict=True)]
    with stopped_at_the_end(relays):
        wait_until(
            lambda: all(topic.count() >= EVENTS for topic in topics),
            relays,
            seconds=60.0,
            every=0.1,
        )
        time.sleep(SECONDS_TO_SETTLE)
        names = [
            (RELAYS[database.vendor], relay.process.pid)
            for database, relay in zip(stores, relays, strict=True)
        ]
        for counter in counters:
            counter.begin()
        before = session.meter.read(names)
        time.sleep(seconds)
        after = session.meter.read(names)
        counts = [counter.count() for counter in counters]
    used = after.since(before)
    lasted = after.at - before.at
    for database, count in zip(stores, counts, strict=True):
        name = RELAYS[database.vendor]
        values = {"share_of_a_core": used[name] / lasted, "statements_a_second": count / lasted}
        result.runs.append(Run(name=name, events=0, values=values))
        result.goals += [
            Goal(
                what=f"{name}: share of a core",
                wanted=MOST_OF_A_CORE,
                found=values["share_of_a_core"],
                is_most=True,
            ),
            Goal(
                what=f"{name}: statements a second",
                wanted=MOST_A_SECOND,
                found=values["statements_a_second"],
                is_most=True,
            ),
        ]
    rows = [
        (
            run.name,
            f"{run.values['share_of_a_core']:.2%}",
            f"{run.values['statements_a_second']:.2f}",
        )
        for run in result.runs
    ]
    result.tables.append((("who", "of one core", "statements/s"), rows))
    return result
