"""consume_events on MongoDB with one document changed by each event, against the naive loop."""

from __future__ import annotations

import time
from collections.abc import Callable

from bench.cpu import HARNESS, OTHERS
from bench.processes import Started, stopped_at_the_end, wait_until
from bench.results import Goal, Result, Run, rates_table
from bench.rows import Load
from bench.session import Session
from bench.stores import Mongo
from bench.topic import BenchTopic, NotVerified

CONSUMER = "consume_events"
TOGETHER = "consume_events, many at once"
NAIVE = "one transaction a message"
WANTED = 5.0
INBOX = "outbox_received_event"
READINGS = "bench_reading"
SHARE, SHARE_OF_TOGETHER, SHARE_OF_NAIVE = 10, 4, 40  # of the events of a drain: this is slower
SECONDS = 300.0


def run(session: Session, command: str) -> Result:
    sizes = session.sizes
    loads = {
        CONSUMER: max(20, sizes.events // SHARE),
        TOGETHER: max(20, sizes.events // SHARE_OF_TOGETHER),
        NAIVE: max(20, sizes.events // SHARE_OF_NAIVE),
    }
    result = Result(
        name="consume",
        title="Receiving on MongoDB, one document changed by each event",
        command=command,
        parameters={"events": loads[CONSUMER], "many at once": loads[TOGETHER]}
        | {"of the naive loop": loads[NAIVE]}
        | {"keys": sizes.keys, "repetitions": sizes.repeat},
    )
    mongo = session.mongo()
    for _ in range(sizes.repeat):
        for name, events in loads.items():
            done = measure(session, mongo, name, events)
            result.runs.append(done)
            session.say(f"  {done.name:28} {done.rate:8,.0f} events/s")
    result.tables.append(rates_table(result, {CONSUMER: (NAIVE,), TOGETHER: (NAIVE,)}))
    # With a handler of one event at a time, its own statement is what remains.
    for name, is_prize in ((TOGETHER, False), (CONSUMER, True)):
        what = f"{name}: rate by that of {NAIVE}"
        found = result.ratio(name, NAIVE)
        result.goals.append(Goal(what=what, wanted=WANTED, found=found, is_prize=is_prize))
    return result


def measure(session: Session, mongo: Mongo, name: str, events: int) -> Run:
    with session.passing_topic() as topic:
        load = Load(events, session.sizes.keys, topic.name)
        fill(session, topic, load)
        mongo.db[INBOX].delete_many({})
        mongo.db[READINGS].delete_many({})
        mongo.db[READINGS].insert_many(
            [{"_id": key.decode(), "version": 0} for key in load.expected()]
        )
        environment = mongo.environment | {
            "BENCH_TOPIC": topic.name,
            "BENCH_GROUP": f"{topic.name}.group",
        }
        starts: dict[str, Callable[[], Started]] = {
            CONSUMER: lambda: session.processes.manage("consume_events", environment),
            TOGETHER: lambda: session.processes.manage(
                "consume_events", environment | {"BENCH_HANDLERS": "TOGETHER"}
            ),
            NAIVE: lambda: session.processes.module("naive_consumer", environment, topic.name),
        }
        return watch(session, mongo, name, load, starts[name])


def fill(session: Session, topic: BenchTopic, load: Load) -> None:
    arguments = (str(load.run), str(load.events), str(load.keys), str(topic.schema_id))
    bare = session.processes.module("bare_loop", {}, topic.name, *arguments)
    with stopped_at_the_end([bare]):
        wait_until(lambda: topic.count() >= load.events, [bare], seconds=SECONDS, every=0.1)


def watch(
    session: Session, mongo: Mongo, name: str, load: Load, start: Callable[[], Started]
) -> Run:
    """Measure from the first effect to the last, as the inbox shows them."""
    started = start()
    inbox = mongo.db[INBOX]
    with stopped_at_the_end([started]):
        wait_until(
            lambda: inbox.estimated_document_count() > 0, [started], seconds=SECONDS, every=0.005
        )
        already, began = inbox.estimated_document_count(), time.monotonic()
        before = session.meter.read([(name, started.process.pid)])
        wait_until(
            lambda: inbox.estimated_document_count() >= load.events,
            [started],
            seconds=SECONDS,
            every=0.02,
        )
        lasted = time.monotonic() - began
        after = session.meter.read([(name, started.process.pid)])
    prove(mongo, load)
    used = after.since(before)
    others = used.pop(OTHERS)
    used.pop(HARNESS)
    counted = max(1, load.events - already)
    return Run(
        name=name,
        events=load.events,
        rate=counted / max(0.001, lasted),
        cpu_us={who: round(1e6 * spent / counted, 2) for who, spent in used.items()},
        others=round(others / max(0.001, lasted), 3),
    )


def prove(mongo: Mongo, load: Load) -> None:
    """Raise NotVerified unless each event took effect once; the handler refuses wrong orders."""
    found = {each["_id"].encode(): each["version"] for each in mongo.db[READINGS].find()}
    if found != load.expected():
        raise NotVerified("the documents are not at the versions of the last events")
    if (count := mongo.db[INBOX].count_documents({})) != load.events:
        raise NotVerified(f"the inbox knows {count} events, not {load.events}")
