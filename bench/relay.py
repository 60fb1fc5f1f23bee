"""Relays draining a backlog, against the strongest simple ones, Debezium and the bare loop."""

from __future__ import annotations

from collections.abc import Callable

from bench.debezium import Debezium
from bench.drain import drain
from bench.processes import Started
from bench.results import Goal, Result, Run, rates_table
from bench.rows import Load
from bench.session import Session
from bench.simple_relay import POSTGRES_TABLE, TABLE
from bench.stores import Database, Mongo, Postgres

BARE = "bare loop"
DEBEZIUM = "Debezium"
RELAYS = {"mongodb": "relay, MongoDB", "postgresql": "relay, PostgreSQL"}
SIMPLE = {"mongodb": "simple relay, MongoDB", "postgresql": "simple relay, PostgreSQL"}


def run(session: Session, command: str) -> Result:
    sizes = session.sizes
    result = Result(
        name="relay",
        title="Draining a backlog",
        command=command,
        parameters={"events": sizes.events, "keys": sizes.keys, "repetitions": sizes.repeat},
    )
    mongo, postgres = session.mongo(), session.postgres()
    prepare_simple(mongo, postgres)
    debezium = session.debezium()
    warm_up(session, debezium)
    contest: tuple[Callable[[], Run], ...] = (
        lambda: bare_loop(session),
        lambda: simple(session, mongo),
        lambda: relay(session, mongo),
        lambda: simple(session, postgres),
        lambda: relay(session, postgres),
        lambda: by_debezium(session, debezium, load_of(session, debezium.topic.name)),
    )
    for repetition in range(1, sizes.repeat + 1):
        for compete in contest:
            done = compete()
            result.runs.append(done)
            session.say(f"  {repetition}  {done.name:24} {done.rate:10,.0f} events/s")
    result.tables.append(
        rates_table(
            result,
            {
                SIMPLE["mongodb"]: (BARE, DEBEZIUM),
                SIMPLE["postgresql"]: (BARE, DEBEZIUM),
                RELAYS["mongodb"]: (SIMPLE["mongodb"], DEBEZIUM),
                RELAYS["postgresql"]: (SIMPLE["postgresql"], DEBEZIUM),
            },
        )
    )
    result.goals += goals(result)
    return result


def goals(result: Result) -> list[Goal]:
    wanted = (
        ("mongodb", SIMPLE["mongodb"], 0.9, False),
        ("mongodb", DEBEZIUM, 0.5, False),
        ("mongodb", DEBEZIUM, 1.0, True),
        ("postgresql", SIMPLE["postgresql"], 0.9, False),
        ("postgresql", DEBEZIUM, 1.0, False),
        ("postgresql", DEBEZIUM, 1.5, True),
    )
    return [
        Goal(
            what=f"{RELAYS[vendor]}: rate by that of {reference}",
            wanted=ratio,
            found=result.ratio(RELAYS[vendor], reference),
            is_prize=is_prize,
        )
        for vendor, reference, ratio, is_prize in wanted
    ]


def prepare_simple(mongo: Mongo, postgres: Postgres) -> None:
    rows = mongo.db[TABLE]
    rows.create_index(
        [("aggregate_type", 1), ("aggregate_id", 1), ("version", 1)], name="version", unique=True
    )
    rows.create_index(
        [("aggregate_id", 1), ("version", 1)],
        name="waiting",
        partialFilterExpression={"state": "pending"},
    )
    postgres.connection.execute(POSTGRES_TABLE)


def bare_loop(session: Session) -> Run:
    with session.passing_topic() as topic:
        load = load_of(session, topic.name)
        arguments = (str(load.run), str(load.events), str(load.keys), str(topic.schema_id))
        return drain(
            BARE,
            topic=topic,
            expected=load.expected(),
            meter=session.meter,
            start=lambda: [session.processes.module("bare_loop", {}, topic.name, *arguments)],
        )


def simple(session: Session, database: Database) -> Run:
    with session.passing_topic() as topic:
        load = load_of(session, topic.name)
        database.load(load, table=TABLE)
        arguments = (database.vendor, str(topic.schema_id))
        return drain(
            SIMPLE[database.vendor],
            topic=topic,
            expected=load.expected(),
            meter=session.meter,
            start=lambda: [
                session.processes.module("simple_relay", database.environment, *arguments)
            ],
            is_done=lambda: database.waiting(TABLE) == 0,
        )


def relay(session: Session, database: Database) -> Run:
    with session.passing_topic() as topic:
        load = load_of(session, topic.name)
        database.load(load)
        return drain(
            RELAYS[database.vendor],
            topic=topic,
            expected=load.expected(),
            meter=session.meter,
            start=lambda: [session.relay(database, topic)],
            is_done=lambda: database.waiting() == 0,
        )


def warm_up(session: Session, debezium: Debezium) -> Load:
    """Let the compilers of its JVM see the work before it is measured."""
    debezium.wait_until_running()
    debezium.stop()
    load = load_of(session, debezium.topic.name)
    by_debezium(session, debezium, load)
    return load


def by_debezium(session: Session, debezium: Debezium, load: Load) -> Run:
    """Measure from its first row to its last: what it needs to begin is not counted."""
    debezium.raw.begin()
    debezium.database.load_one_a_transaction(load, state="captured")

    def resume() -> list[Started]:
        debezium.resume()
        return []

    try:
        return drain(
            DEBEZIUM,
            topic=debezium.raw,
            expected=load.expected(),
            meter=session.meter,
            start=resume,
        )
    finally:
        debezium.stop()


def load_of(session: Session, topic: str) -> Load:
    return Load(session.sizes.events, session.sizes.keys, topic)
