"""Does a sale become slower as the databases fill up?

Runs against a running stack whose reservations outlive it, which is of no use for anything else
afterwards, since its databases are filled with a past that never was:

    make run EXPIRATION_WINDOW_SECONDS=900      # in one terminal
    python -m bench history                     # in another

Tickets are asked for once each, before and after; a plain view (bench/plain_claim.py), whose
database stays as it is, has its turn each time, so that a machine that becomes slower is not taken
for a database that does.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
from bson import ObjectId
from psycopg import sql
from pymongo import MongoClient

from bench.claims import ORDERS, ORDERS_DATABASE, PLAIN, Asked, Orders, Reference
from bench.cpu import CpuMeter
from bench.results import Goal, Result, Run
from bench.sale import (
    BACKENDS,
    WEB,
    Account,
    Sale,
    account_of,
    cost,
    each_once,
    play,
    tell,
    warming_up,
)
from deploy.local.config import Config
from deploy.local.entries import database_url, mongodb_uri
from tests.e2e.people import sign_up_many
from tests.e2e.stack import Stack

TICKETS_DATABASE = "ticketing_tickets"
BEFORE, AFTER = "as it was", "filled up"
AT_ONCE = 5_000
PAST_ORDERS = 100_000
MOST = 1.2
# The past of each order but its events in the outbox, which Debezium would send; as to them, see
# bench/growth.py.
PAST = {
    "orders_ticketcopy": {"ticket_id": "'past-' || n"},
    "orders_order": {
        "id": "md5(n::text)::uuid",
        "ticket_id": "'past-' || n",
        "status": "'complete'",
        "payment_id": "'past-' || n",
        "created_at": "now() - n * interval '1 minute'",
    },
    "orders_timelineentry": {"event_id": "'past-' || n", "order_id": "md5(n::text)::uuid"},
    "outbox_received_event": {"_id": "'past/' || n"},
}


def run(sale: Sale, orders: int, command: str, directory: Path | None) -> int:
    """Measure on the running stack, print it, and return the exit status."""
    stack = Stack.from_environment()
    people = sign_up_many(stack.base_url, sale.accounts + 1)
    seller, *crowd = people
    result = Result(
        name="history",
        title="A sale after years",
        command=command,
        parameters={
            "tickets": 2 * sale.tickets,
            "past orders": orders,
            "connections": sale.connections,
            "repetitions": sale.repeat,
        },
    )
    with ExitStack() as ending:
        for person in people:
            ending.callback(person.http.close)
        plain = ending.enter_context(closing(Reference(stack.config, PLAIN)))
        asked = (plain, Orders(stack, seller))
        accounts = [account_of(person) for person in crowd]
        result.runs, violations = measure(sale, orders, stack.config, asked, accounts)
    tabulate(result, violations)
    return tell(result, violations, directory)


def measure(
    sale: Sale, orders: int, config: Config, asked: Sequence[Asked], accounts: Sequence[Account]
) -> tuple[list[Run], list[str]]:
    """Play the scene before and after, and return what was measured and what must not be."""
    meter = CpuMeter(str(config.directory))
    runs: list[Run] = []
    violations: list[str] = []
    for each in asked:
        play(warming_up(sale, accounts), each, meter)
    for when in (BEFORE, AFTER):
        if when == AFTER:
            fill(config, orders)
        for _ in range(sale.repeat):
            for each in asked:
                done, faults = play(each_once(sale, accounts), each, meter)
                runs.append(replace(done, name=f"{each.name}, {when}"))
                violations += faults
                print(f"{runs[-1].name}: {done.rate:,.0f}/s", flush=True)
    return runs, violations


def fill(config: Config, count: int) -> None:
    """Give both databases a past: so many orders that were paid, and their tickets.

    Each row is a copy of one that is there, but for its keys.
    """
    print(f"filling the databases with {count:,} orders and tickets", flush=True)
    with psycopg.connect(database_url(config, ORDERS_DATABASE), autocommit=True) as connection:
        for table, keys in PAST.items():
            connection.execute(copying(table, keys), {"count": count})
        connection.execute("VACUUM (ANALYZE)")
    with MongoClient[dict[str, Any]](mongodb_uri(config)) as client:
        tickets = client[TICKETS_DATABASE]["tickets_ticket"]
        ticket = tickets.find_one()
        assert ticket is not None, "no ticket was listed yet"  # noqa: S101
        for first in range(0, count, AT_ONCE):
            tickets.insert_many(
                [
                    ticket | {"_id": ObjectId(), "status": "sold", "order_id": f"past-{n}"}
                    for n in range(first, min(first + AT_ONCE, count))
                ],
                ordered=False,
            )


def copying(table: str, keys: dict[str, str]) -> sql.Composed:
    """Return the statement that copies a row of the table `count` times, with other keys."""
    changes = sql.SQL(", ").join(
        sql.SQL("{}, {}").format(sql.Literal(name), sql.SQL(value)) for name, value in keys.items()
    )
    return sql.SQL(
        "INSERT INTO {table}"
        " SELECT (jsonb_populate_record(one.kept, jsonb_build_object({changes}))).*"
        " FROM (SELECT kept FROM {table} AS kept LIMIT 1) AS one,"
        " generate_series(1, %(count)s) AS n"
    ).format(table=sql.Identifier(table), changes=changes)


def tabulate(result: Result, violations: Sequence[str]) -> None:
    headings = ("one each", "reserved/s", "p50 ms", "p99 ms", "CPU µs of web", "of PostgreSQL")
    rows = []
    for name in result.names():
        best = result.best(name)
        rates = " ".join(f"{each.rate:,.0f}" for each in result.of(name))
        times = (f"{best.values['p50_ms']:,.1f}", f"{best.values['p99_ms']:,.1f}")
        rows.append(
            (name, rates, *times, f"{best.cpu_us[WEB]:.0f}", f"{best.cpu_us[BACKENDS]:.0f}")
        )
    result.tables.append((headings, rows))

    by_plain = [
        cost(result, f"{ORDERS}, {when}") / cost(result, f"{PLAIN}, {when}")
        for when in (BEFORE, AFTER)
    ]
    result.goals += [
        Goal(what="violations", wanted=0, found=len(violations), is_most=True),
        Goal(
            what="cost of a reservation by the plain view's: filled up by as it was",
            wanted=MOST,
            found=by_plain[1] / by_plain[0],
            is_most=True,
        ),
    ]
