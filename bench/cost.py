"""What an event costs the database: statements, and bytes of its log of changes."""

from __future__ import annotations

from bench.drain import drain
from bench.relay import RELAYS
from bench.results import Goal, Result, Run
from bench.rows import Load
from bench.session import Session
from bench.statements import statements_of
from bench.stores import Database

MOST_STATEMENTS_A_HUNDRED = 5.0
NOTE = (
    "Bytes: PostgreSQL's WAL between two checkpoints, and MongoDB's oplog, which is compressed on "
    "disk. MongoDB's profiler does not see commits."
)


def run(session: Session, command: str) -> Result:
    result = Result(
        name="cost",
        title="What an event costs the database",
        command=command,
        parameters={"events": session.sizes.some, "keys": session.sizes.keys},
        notes=[NOTE],
    )
    result.runs += [measure(session, database) for database in session.stores()]
    for each in result.runs:
        result.goals.append(
            Goal(
                what=f"{each.name}: statements for a hundred events",
                wanted=MOST_STATEMENTS_A_HUNDRED,
                found=100 * each.values["statements"] / each.events,
                is_most=True,
            )
        )
    rows = [
        (
            each.name,
            f"{100 * each.values['statements'] / each.events:.2f}",
            f"{each.values['inserting'] / each.events:,.0f}",
            f"{each.values['publishing'] / each.events:,.0f}",
        )
        for each in result.runs
    ]
    headings = ("who", "statements for 100 events", "bytes/event to insert", "to publish")
    result.tables.append((headings, rows))
    return result


def measure(session: Session, database: Database) -> Run:
    name = RELAYS[database.vendor]
    with session.passing_topic() as topic:
        load = Load(session.sizes.some, session.sizes.keys, topic.name)
        before = database.position()
        # After a checkpoint PostgreSQL logs each page whole, once: that is not the event's cost.
        database.load(load, checkpoint=False)
        inserting = database.written_since(before)
        statements = statements_of(database, session.servers.log_of("postgres"))
        statements.begin()
        before = database.position()
        done = drain(
            name,
            topic=topic,
            expected=load.expected(),
            meter=session.meter,
            start=lambda: [session.relay(database, topic)],
        )
        values = {
            "statements": statements.count(),
            "inserting": inserting,
            "publishing": database.written_since(before),
        }
        return Run(name=name, events=load.events, rate=done.rate, values=values)
