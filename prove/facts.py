"""What every database and the provider say at one moment: plain data, which rules.py judges.

It is read beside the services, with the databases' own clients, so that no code of theirs can hide
a fault of theirs.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
import pymongo
from psycopg.rows import dict_row

from deploy.local.config import Config
from deploy.local.entries import database_url, mongodb_uri
from prove.load import Told

Row = dict[str, Any]
ON_MONGODB = ("auth", "tickets", "payments", "expiration")
PAGE = 100


@dataclass(kw_only=True)
class Facts:
    """All that is known at the end of a run.

    Args:
        told: what each client was told.
        users, tickets, orders, copies, payments, deadlines: rows by their ids; copies are what
            orders knows of tickets.
        attempts, refunds, ledger: of payments.
        intents, charges: of the provider.
        waiting: how much waits, by what waits where.
        letters: the dead letters of all services: group, topic, event_id.
        planted: topic and event id of each record that must have become a dead letter.
        readers: which groups read a topic.
    """

    told: list[Told] = field(default_factory=list)
    users: dict[str, Row] = field(default_factory=dict)
    tickets: dict[str, Row] = field(default_factory=dict)
    orders: dict[str, Row] = field(default_factory=dict)
    copies: dict[str, Row] = field(default_factory=dict)
    payments: dict[str, Row] = field(default_factory=dict)
    deadlines: dict[str, Row] = field(default_factory=dict)
    attempts: list[Row] = field(default_factory=list)
    refunds: list[Row] = field(default_factory=list)
    ledger: list[Row] = field(default_factory=list)
    intents: list[Row] = field(default_factory=list)
    charges: list[Row] = field(default_factory=list)
    waiting: dict[str, int] = field(default_factory=dict)
    letters: list[Row] = field(default_factory=list)
    planted: list[tuple[str, str]] = field(default_factory=list)
    readers: dict[str, tuple[str, ...]] = field(default_factory=dict)


def read(config: Config, facts: Facts) -> Facts:
    """Fill in all that the databases and the provider know.

    Raises:
        psycopg.Error, pymongo.errors.PyMongoError, httpx.HTTPError: one of them is away.
    """
    client: pymongo.MongoClient[Row] = pymongo.MongoClient(
        mongodb_uri(config), serverSelectionTimeoutMS=5000, socketTimeoutMS=10_000
    )
    with client:
        read_mongodb(client, facts)
    url = database_url(config, "ticketing_orders")
    with psycopg.connect(url, connect_timeout=5, row_factory=dict_row) as connection:
        read_postgresql(connection, facts)
    with httpx.Client(
        base_url=f"http://{config.address('provider')}",
        headers={"Authorization": f"Bearer {config.secrets['STRIPE_KEY']}"},
        timeout=10,
    ) as provider:
        facts.intents = list_all(provider, "/v1/payment_intents")
        facts.charges = list_all(provider, "/v1/charges")
    return facts


def read_mongodb(client: pymongo.MongoClient[Row], facts: Facts) -> None:
    databases = {name: client[f"ticketing_{name}"] for name in ON_MONGODB}
    payments = databases["payments"]
    facts.users = by_id(databases["auth"]["accounts_user"].find({}, {"email": 1}))
    facts.tickets = by_id(databases["tickets"]["tickets_ticket"].find())
    facts.payments = by_id(payments["payments_payment"].find())
    facts.attempts = list(by_id(payments["payments_paymentattempt"].find()).values())
    facts.refunds = list(by_id(payments["payments_refund"].find()).values())
    facts.ledger = list(payments["payments_ledgertransaction"].find())
    facts.deadlines = by_id(databases["expiration"]["expiration_deadline"].find())
    facts.letters = []
    for name, database in databases.items():
        facts.waiting[f"{name}: rows to be sent"] = database["outbox_event"].count_documents(
            {"state": "pending"}
        )
        facts.waiting[f"{name}: parked"] = database["outbox_parked_record"].count_documents({})
        facts.letters += database["outbox_dlq"].find(
            {}, {"group": 1, "topic": 1, "event_id": 1, "stage": 1, "error_message": 1}
        )


def read_postgresql(connection: psycopg.Connection[Row], facts: Facts) -> None:
    def rows(query: str) -> list[Row]:
        return connection.execute(query.encode()).fetchall()

    facts.orders = {str(row["id"]): row for row in rows("SELECT * FROM orders_order")}
    copies = rows("SELECT * FROM orders_ticketcopy")
    facts.copies = {row["ticket_id"]: row for row in copies}
    facts.letters += rows('SELECT "group", topic, event_id, stage, error_message FROM outbox_dlq')
    facts.waiting["orders: rows to be sent"] = rows(
        "SELECT count(*) AS n FROM outbox_event WHERE state = 'pending'"
    )[0]["n"]
    facts.waiting["orders: parked"] = rows("SELECT count(*) AS n FROM outbox_parked_record")[0]["n"]


def by_id(documents: Iterable[Row]) -> dict[str, Row]:
    return {identity(document["_id"]): document for document in documents}


def identity(value: Any) -> str:  # noqa: ANN401 (whatever a store keeps ids as)
    """Return an id as the API writes it: MongoDB keeps UUIDs as 32 digits."""
    text = str(value)
    if len(text) == 32:  # noqa: PLR2004
        return str(uuid.UUID(text))
    return text


def list_all(provider: httpx.Client, path: str) -> list[Row]:
    """Read a list of the provider to its end."""
    found: list[Row] = []
    while True:
        last = {"starting_after": found[-1]["id"]} if found else {}
        answer = provider.get(path, params={"limit": PAGE, **last})
        answer.raise_for_status()
        page = answer.json()
        found += page["data"]
        if not page["has_more"]:
            return found
