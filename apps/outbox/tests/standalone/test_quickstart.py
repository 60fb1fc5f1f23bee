"""The README takes a stranger from an empty folder to a first event, on either store."""

from __future__ import annotations

import uuid
from urllib.parse import quote

import psycopg
import pymongo
import pytest
from confluent_kafka import Consumer
from django.conf import settings
from django.db import connection
from psycopg import sql

from apps.outbox.codec import Codec
from apps.outbox.registry import Registry
from apps.outbox.tests.standalone.quickstart import README, Stranger, blocks

PACKAGE = README.parent
CHECKOUT = README.parents[2]


@pytest.fixture
def database(name):
    """An empty database of that name; give what the README's addresses of it become."""
    own = connection.settings_dict
    if connection.vendor == "mongodb":
        yield {"mongodb://localhost:27017/?replicaSet=rs0": own["HOST"]}
        with pymongo.MongoClient(own["HOST"]) as client:
            client.drop_database(name)
        return
    address = {"host": own["HOST"], "port": own["PORT"], "user": own["USER"]}
    server = psycopg.connect(
        **address, password=own["PASSWORD"], dbname="postgres", autocommit=True
    )
    with server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield {
            '"HOST": "localhost"': f'"HOST": "{own["HOST"]}"',
            '"PORT": 5432': f'"PORT": {own["PORT"] or 5432}',
            '"USER": "postgres"': f'"USER": "{own["USER"]}"',
            '"PASSWORD": "postgres"': f'"PASSWORD": "{own["PASSWORD"]}"',
        }
        drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
        server.execute(drop)


@pytest.fixture
def name():
    """What the stranger calls the project: no two meet in one Kafka."""
    return f"cinema_{uuid.uuid4().hex[:8]}"


@pytest.fixture
def stranger(tmp_path, database, name):
    return Stranger(
        tmp_path,
        {
            "/path/to/ticketing": quote(str(CHECKOUT)),
            "localhost:9092": settings.KAFKA_BOOTSTRAP_SERVERS,
            "http://localhost:8081": settings.SCHEMA_REGISTRY_URL,
            **database,
            "cinema": name,
        },
    )


def first_record(topic):
    """Return the only record of the topic."""
    consumer = Consumer(
        {
            "bootstrap.servers": settings.KAFKA_BOOTSTRAP_SERVERS,
            "group.id": f"{topic}.test",
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([topic])
    try:
        record = consumer.poll(60)
    finally:
        consumer.close()
    assert record is not None
    assert record.error() is None
    return record


def modules_below(directory):
    paths = (path.relative_to(directory) for path in directory.rglob("*.py"))
    return {path for path in paths if path.parts[0] != "tests"}


def test_readme_leads_from_an_empty_folder_to_a_first_event(stranger, name):
    *steps, terminals, outcome = blocks(connection.vendor)
    site = stranger.have_packages_at_hand()

    for block in steps:
        stranger.follow(block)
    with stranger.terminals(terminals):
        said = stranger.succeeds_soon(stranger.adapted(outcome.text))
        record = first_record(f"{name}.seats")

    assert said.splitlines()[-1] == "anna"
    registry = Registry.from_settings()
    assert Codec(registry).decode(record.value()) == (
        f"{name}.seats.SeatTaken",
        {"seat_id": record.key().decode(), "person": "anna", "version": 1},
    )
    registry.close()
    headers = dict(record.headers())
    assert headers["ce_type"].decode() == f"{name}.seats.seat.taken.v1"
    assert headers["ce_source"].decode() == f"/{name}"
    # All of it came from the wheel, which holds the whole package and none of our tests.
    package = site / "kafka_outbox"
    assert modules_below(package) == modules_below(PACKAGE)
    assert not (package / "tests").exists()
    assert (package / "py.typed").exists()
