"""Who is asked for tickets in a sale: the orders service, and two references beside it."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol

import httpx
import psutil
import psycopg
from psycopg import sql

from bench.processes import Processes, wait_until
from deploy.local.config import Config
from deploy.local.entries import database_url, environment_of_system
from deploy.local.ports import find_free
from deploy.local.words import web
from tests.e2e.people import Person
from tests.e2e.stack import Stack, eventually

ORDERS_DATABASE = "ticketing_orders"
ORDERS = "orders"
GATEWAY = "orders by the gateway"
BARE = "bare view"
PLAIN = "plain view"
MODULES = {BARE: "bare_claim", PLAIN: "plain_claim"}
AT_ONCE = 8
SECONDS_TO_START = 60.0
SECONDS_TO_HEAR = 180.0
# A stack that does nothing uses less of the processors in a second.
SECONDS_AT_REST = 0.4
LONGEST_UNREST = 60.0

# As much of the orders' table as the rule needs, and the index that is the rule.
TABLE = """
CREATE TABLE claim (
    id uuid PRIMARY KEY,
    ticket_id varchar(64) NOT NULL,
    buyer_id varchar(64) NOT NULL,
    status varchar(20) NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX claim_one_per_ticket ON claim (ticket_id)
    WHERE status IN ('created', 'awaiting_payment', 'complete');
"""

Claim = tuple[str, str, str]
"""The order, its ticket and its buyer."""


class Asked(Protocol):
    """Whom buyers ask for tickets.

    Attributes:
        port: where.
        web: the id of the process that answers.
        between: the processes, by name and id, that the requests come through.
        url: the database.
    """

    name: str
    port: int
    web: int
    between: Sequence[tuple[str, int]]
    url: str

    def offer(self, count: int) -> list[str]:
        """Return so many new tickets that can be reserved."""
        ...

    def claims(self, tickets: Sequence[str]) -> list[Claim]:
        """Return who has which of the tickets, as the database says."""
        ...

    def rest(self, tickets: Sequence[str]) -> None:
        """Wait until all that follows from the sale of these tickets is done."""
        ...


class Orders:
    """See Asked. What follows a reservation goes on in other processes, beside the next ones.

    Args:
        stack: that runs.
        seller: offers the tickets.
        by_gateway: whether requests take the way that browsers' do.
    """

    def __init__(self, stack: Stack, seller: Person, *, by_gateway: bool = False) -> None:
        config = stack.config
        self.name = GATEWAY if by_gateway else ORDERS
        self.port = config.ports["gateway" if by_gateway else "orders-web"]
        self.web = stack.pid_of("orders-web")
        self.between: Sequence[tuple[str, int]] = (
            [("gateway", stack.pid_of("gateway"))] if by_gateway else []
        )
        self.url = database_url(config, ORDERS_DATABASE)
        self._seller = seller
        self._mark = str(config.directory)

    def offer(self, count: int) -> list[str]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            listed = pool.map(lambda _: self._seller.list_ticket(), range(count))
            tickets = [ticket["id"] for ticket in listed]
        eventually(
            lambda: self._count("TRUE", tickets) == count,
            within=SECONDS_TO_HEAR,
            what="orders to hear of the tickets",
        )
        self._settle()
        return tickets

    def claims(self, tickets: Sequence[str]) -> list[Claim]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(
                "SELECT id::text, ticket_id, buyer_id FROM orders_order"
                " WHERE ticket_id = ANY(%s) AND status <> 'cancelled'",
                [list(tickets)],
            ).fetchall()

    def rest(self, tickets: Sequence[str]) -> None:
        claimed = len(self.claims(tickets))
        eventually(
            lambda: self._count("order_id <> ''", tickets) == claimed,
            within=SECONDS_TO_HEAR,
            what="tickets to be held",
        )
        self._settle()

    def _count(self, condition: str, tickets: Sequence[str]) -> int:
        with psycopg.connect(self.url) as connection:
            query = (
                f"SELECT count(*) FROM orders_ticketcopy WHERE ticket_id = ANY(%s) AND {condition}"
            )
            [(count,)] = connection.execute(query.encode(), [list(tickets)]).fetchall()
            return int(count)

    def _settle(self) -> None:
        """Wait until the stack's processes, consumers and mails among them, have little to do."""
        deadline = time.monotonic() + LONGEST_UNREST
        before = self._used()
        while time.monotonic() < deadline:
            time.sleep(1.0)
            now = self._used()
            if now - before < SECONDS_AT_REST:
                return
            before = now

    def _used(self) -> float:
        seconds = 0.0
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("TICKETING_STACK") == self._mark:
                    times = process.cpu_times()
                    seconds += times.user + times.system
        return seconds


class Reference:
    """See Asked. It is served as the orders service is, beside the same PostgreSQL.

    Args:
        config: of the stack that runs.
        name: BARE or PLAIN.
    """

    between: Sequence[tuple[str, int]] = ()

    def __init__(self, config: Config, name: str) -> None:
        self.name = name
        self._module = MODULES[name]
        self._database = f"bench_claim_{uuid.uuid4().hex[:8]}"
        self._admin_url = database_url(config, "postgres")
        self.url = database_url(config, self._database)
        self._administer("CREATE DATABASE {}")
        try:
            self._start(config)
        except BaseException:
            self._administer("DROP DATABASE {} WITH (FORCE)")
            raise

    def _start(self, config: Config) -> None:
        with psycopg.connect(self.url) as connection:
            connection.execute(TABLE)
        self.port = find_free(())
        environment = environment_of_system(config, os.environ) | {
            "DJANGO_SETTINGS_MODULE": f"bench.settings.{self._module}",
            "JWT_KEY": config.secrets["JWT_KEY"],
            "DATABASE_URL": self.url,
            "SECRET_KEY": uuid.uuid4().hex,
        }
        processes = Processes(environment, config.logs)
        command = serving(config, f"bench.{self._module}", self.port, find_free({self.port}))
        self._process = processes.python(self._module, {}, *command)
        self.web = self._process.process.pid
        try:
            wait_until(self._answers, [self._process], seconds=SECONDS_TO_START, every=0.1)
        except BaseException:
            self._process.stop()
            raise

    def offer(self, count: int) -> list[str]:
        return [str(uuid.uuid4()) for _ in range(count)]

    def claims(self, tickets: Sequence[str]) -> list[Claim]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(
                "SELECT id::text, ticket_id, buyer_id FROM claim WHERE ticket_id = ANY(%s)",
                [list(tickets)],
            ).fetchall()

    def rest(self, tickets: Sequence[str]) -> None:
        """Nothing follows."""

    def close(self) -> None:
        self._process.stop()
        self._administer("DROP DATABASE {} WITH (FORCE)")

    def _answers(self) -> bool:
        with suppress(httpx.TransportError):
            return bool(httpx.get(f"http://127.0.0.1:{self.port}/").status_code)
        return False

    def _administer(self, statement: str) -> None:
        with psycopg.connect(self._admin_url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(self._database)))


def serving(config: Config, application: str, port: int, other_port: int) -> list[str]:
    """Return the arguments by which the orders service is served, for another application."""
    ports = config.ports
    replaced = {
        "ticketing.wsgi": application,
        f"127.0.0.1:{ports['orders-web']}": f"127.0.0.1:{port}",
        f"127.0.0.1:{ports['orders-web-metrics']}": f"127.0.0.1:{other_port}",
    }
    _, *arguments = web(ORDERS).program.launch(config).command
    missing = replaced.keys() - set(arguments)
    assert not missing, f"the orders service is not served with {missing} any more"  # noqa: S101
    return [replaced.get(argument, argument) for argument in arguments]
