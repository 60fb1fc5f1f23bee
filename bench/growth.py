"""Does a relay become slower as published rows pile up?"""

from __future__ import annotations

from bench.drain import drain
from bench.relay import RELAYS
from bench.results import Goal, Result, Run, spread
from bench.rows import Load
from bench.session import Session
from bench.stores import Database

MOST_DIFFERENCE = 0.2
PUBLISHED = "bench.published"


def run(session: Session, command: str) -> Result:
    sizes = session.sizes
    result = Result(
        name="growth",
        title="Draining with rows already published",
        command=command,
        parameters={
            "events": sizes.some,
            "keys": sizes.keys,
            "repetitions": sizes.repeat,
            "published": sizes.published,
        },
    )
    # A database for each size, so that the sizes can take turns.
    crowd = [
        (make(), size) for size in sizes.published for make in (session.mongo, session.postgres)
    ]
    for database, size in crowd:
        session.say(f"  loading {size:,} published rows into {database.vendor}")
        database.load(Load(size, sizes.keys, PUBLISHED), state="published")
    for _ in range(sizes.repeat):
        for database, size in crowd:
            done = measure(session, database, size)
            result.runs.append(done)
            session.say(f"  {done.name:40} {done.rate:10,.0f} events/s")
    tabulate(result, sizes.published)
    return result


def name_of(vendor: str, size: int) -> str:
    return f"{RELAYS[vendor]}, {size:,} published"


def measure(session: Session, database: Database, size: int) -> Run:
    with session.passing_topic() as topic:
        load = Load(session.sizes.some, session.sizes.keys, topic.name)
        database.add(load, state="pending")
        done = drain(
            name_of(database.vendor, size),
            topic=topic,
            expected=load.expected(),
            meter=session.meter,
            start=lambda: [session.relay(database, topic)],
            is_done=lambda: database.waiting() == 0,
        )
        database.remove(topic.name)
        return done


def tabulate(result: Result, sizes: tuple[int, ...]) -> None:
    rows = []
    for vendor, name in RELAYS.items():
        best = [result.best(name_of(vendor, size)) for size in sizes]
        difference = spread([run.rate for run in best])
        rows.append((name, *(f"{run.rate:,.0f}" for run in best), f"{difference:.0%}"))
        result.goals.append(
            Goal(
                what=f"{name}: share by which the slowest is below the fastest",
                wanted=MOST_DIFFERENCE,
                found=difference,
                is_most=True,
            )
        )
    headings = ("events/s with rows published", *(f"{size:,}" for size in sizes), "difference")
    result.tables.append((headings, rows))
