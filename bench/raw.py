"""The raw worker draining what Debezium has drained before it."""

from __future__ import annotations

from bench.debezium import Debezium
from bench.drain import drain
from bench.relay import DEBEZIUM, by_debezium, warm_up
from bench.results import Goal, Result, Run, rates_table
from bench.rows import Load
from bench.session import Session

WORKER = "consume_raw_orders"
WANTED = 1.2


def run(session: Session, command: str) -> Result:
    sizes = session.sizes
    result = Result(
        name="raw",
        title="The raw worker behind Debezium",
        command=command,
        parameters={"events": sizes.events, "keys": sizes.keys, "repetitions": sizes.repeat},
    )
    debezium = session.debezium()
    # The worker passes over the rows of the warm-up.
    debezium.topic.begin()
    work(session, debezium, warm_up(session, debezium))
    for _ in range(sizes.repeat):
        for done in both(session, debezium):
            result.runs.append(done)
            session.say(f"  {done.name:24} {done.rate:10,.0f} events/s")
    result.tables.append(rates_table(result, {WORKER: (DEBEZIUM,)}))
    what = f"{WORKER}: rate by that of {DEBEZIUM}"
    result.goals.append(Goal(what=what, wanted=WANTED, found=result.ratio(WORKER, DEBEZIUM)))
    return result


def both(session: Session, debezium: Debezium) -> tuple[Run, Run]:
    debezium.topic.begin()
    load = Load(session.sizes.events, session.sizes.keys, debezium.topic.name)
    return by_debezium(session, debezium, load), work(session, debezium, load)


def work(session: Session, debezium: Debezium, load: Load) -> Run:
    return drain(
        WORKER,
        topic=debezium.topic,
        expected=load.expected(),
        meter=session.meter,
        start=lambda: [session.processes.manage(WORKER, debezium.environment)],
    )
