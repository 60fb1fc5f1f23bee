from __future__ import annotations

import httpx
import psycopg
import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.schema_registry.error import SchemaRegistryError
from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError
from pymongo.errors import (
    AutoReconnect,
    DuplicateKeyError,
    NetworkTimeout,
    OperationFailure,
    ServerSelectionTimeoutError,
)

from apps.outbox.failures import Poison, Unavailable, is_outage


def wrapped(outer, cause):
    outer.__cause__ = cause
    return outer


@pytest.mark.parametrize(
    "exc",
    [
        wrapped(OperationalError(), psycopg.OperationalError("connection refused")),
        wrapped(OperationalError(), psycopg.errors.AdminShutdown()),
        wrapped(OperationalError(), psycopg.errors.TooManyConnections()),
        wrapped(OperationalError(), psycopg.errors.DiskFull()),
        wrapped(OperationalError(), psycopg.errors.DeadlockDetected()),
        OperationalError("the connection is closed"),
        InterfaceError("connection already closed"),
        wrapped(DatabaseError(), ServerSelectionTimeoutError("no primary")),
        wrapped(DatabaseError(), NetworkTimeout("timed out")),
        wrapped(DatabaseError(), OperationFailure("stepping down", 189)),
        AutoReconnect("connection closed"),
        KafkaException(KafkaError(KafkaError._MSG_TIMED_OUT)),
        KafkaException(KafkaError(KafkaError.NOT_ENOUGH_REPLICAS)),
        SchemaRegistryError(503, 50301, "starting"),
        SchemaRegistryError(429, 42901, "slower"),
        httpx.ConnectError("refused"),
        Unavailable("not yet"),
        wrapped(RuntimeError("in a handler"), AutoReconnect("connection closed")),
    ],
    ids=repr,
)
def test_a_server_that_is_away_is_an_outage(exc):
    assert is_outage(exc)


@pytest.mark.parametrize(
    "exc",
    [
        wrapped(OperationalError(), psycopg.errors.QueryCanceled()),
        wrapped(OperationalError(), psycopg.errors.ProgramLimitExceeded()),
        wrapped(IntegrityError(), psycopg.errors.UniqueViolation()),
        wrapped(IntegrityError(), DuplicateKeyError("E11000", 11000)),
        wrapped(DatabaseError(), OperationFailure("bad value", 2)),
        KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)),
        KafkaException("no Kafka error at all"),
        SchemaRegistryError(404, 40403, "no such schema"),
        Poison("not_avro", "no zero byte"),
        ValueError("a bug"),
    ],
    ids=repr,
)
def test_what_may_be_the_messages_fault_is_none(exc):
    assert not is_outage(exc)
