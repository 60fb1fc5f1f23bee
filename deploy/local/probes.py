"""When is it of use? Each probe is asked until it says yes, and finishes a new server's setup."""

from __future__ import annotations

import contextlib
import socket
import urllib.error
import urllib.request
from http import HTTPStatus

import psycopg
import pymongo
import pymongo.errors
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.local.config import Config
from deploy.local.entries import Probe, database_url

SECONDS = 2.0
DATABASES = ("ticketing_orders", "registry")
NOT_INITIATED = 94


def postgresql(config: Config) -> bool:
    """Whether PostgreSQL answers; makes the databases that are missing."""
    url = database_url(config, "postgres")
    try:
        with psycopg.connect(url, connect_timeout=2, autocommit=True) as connection:
            known = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
            for name in DATABASES:
                if name not in known:
                    connection.execute(f'CREATE DATABASE "{name}"'.encode())
    except psycopg.OperationalError:
        return False
    return True


def replica_set(config: Config) -> bool:
    """Whether mongod is the primary of its set of one; initiates the set, or moves its port."""
    address = config.address("mongod")
    client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(
        f"mongodb://127.0.0.1:{config.ports['mongod']}",
        directConnection=True,
        serverSelectionTimeoutMS=int(SECONDS * 1000),
    )
    with client, contextlib.suppress(pymongo.errors.ConnectionFailure):
        try:
            current = client.admin.command("replSetGetConfig")["config"]
        except pymongo.errors.OperationFailure as exc:
            if exc.code != NOT_INITIATED:
                return False
            initiate(client, address, lasting=config.lasting)
            return False
        if current["members"][0]["host"] != address:
            current["members"][0]["host"] = address
            current["version"] += 1
            client.admin.command("replSetReconfig", current, force=True)
            return False
        return bool(client.admin.command("hello")["isWritablePrimary"])
    return False


def initiate(
    client: pymongo.MongoClient[dict[str, object]], address: str, *, lasting: bool
) -> None:
    settings: dict[str, object] = {"_id": "rs0", "members": [{"_id": 0, "host": address}]}
    if not lasting:
        # Tests commit twice as fast when a majority write does not wait for the disk.
        settings["writeConcernMajorityJournalDefault"] = False
    client.admin.command("replSetInitiate", settings)


def redis(config: Config) -> bool:
    with contextlib.suppress(OSError), connect(config.ports["redis"]) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(16).startswith(b"+PONG")
    return False


def kafka(config: Config) -> bool:
    if not listens(config.ports["kafka"]):
        return False
    client = AdminClient(
        {"bootstrap.servers": f"127.0.0.1:{config.ports['kafka']}", "log_level": 0}
    )
    try:
        return bool(client.list_topics(timeout=SECONDS).brokers)
    except KafkaException:
        return False


def answers(port: str, path: str) -> Probe:
    """Return a probe that asks for `path` on the port named `port` and wants a 200."""

    def probe(config: Config) -> bool:
        url = f"http://127.0.0.1:{config.ports[port]}{path}"
        try:
            with urllib.request.urlopen(url, timeout=SECONDS) as answer:
                return bool(answer.status == HTTPStatus.OK)
        except (OSError, urllib.error.HTTPError):
            return False

    return probe


def accepts(port: str) -> Probe:
    """Return a probe that wants a connection on the port named `port`."""
    return lambda config: listens(config.ports[port])


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=SECONDS)


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), connect(port):
        return True
    return False
