"""Two relays in place of one, and many events of few keys."""

from __future__ import annotations

from bench.drain import drain
from bench.relay import RELAYS
from bench.results import Result, Run, rates_table
from bench.rows import Load
from bench.session import Session
from bench.stores import Database

HOT_KEYS = 50
SKIPPED = 0.25  # of the events, in which the second relay gets its share of the keys

NOTE = (
    f"The rate leaves out the first {SKIPPED:.0%} of the events, in which the relays divide the "
    "keys between them. Relays and servers share the machine's processors."
)


def run(session: Session, command: str) -> Result:
    sizes = session.sizes
    result = Result(
        name="scale",
        title="Two relays, and hot keys",
        command=command,
        parameters={"events": sizes.events // 2, "keys": sizes.keys, "repetitions": sizes.repeat},
        notes=[NOTE],
    )
    stores = session.stores()
    contest = ((1, sizes.keys), (2, sizes.keys), (2, HOT_KEYS))
    for _ in range(sizes.repeat):
        for database in stores:
            for relays, keys in contest:
                done = measure(session, database, relays, keys)
                result.runs.append(done)
                session.say(f"  {done.name:36} {done.rate:10,.0f} events/s")
    references = {
        name_of(database, relays, keys): (name_of(database, 1, sizes.keys),)
        for database in stores
        for relays, keys in contest[1:]
    }
    result.tables.append(rates_table(result, references))
    return result


def name_of(database: Database, relays: int, keys: int) -> str:
    return f"{relays} x {RELAYS[database.vendor]}, {keys:,} keys"


def measure(session: Session, database: Database, relays: int, keys: int) -> Run:
    with session.passing_topic() as topic:
        load = Load(session.sizes.events // 2, keys, topic.name)
        database.load(load)
        return drain(
            name_of(database, relays, keys),
            topic=topic,
            expected=load.expected(),
            meter=session.meter,
            start=lambda: [session.relay(database, topic) for _ in range(relays)],
            is_done=lambda: database.waiting() == 0,
            skipped=SKIPPED,
        )
