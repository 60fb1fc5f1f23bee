"""Telling a store or broker that is away from a message that is bad.

An outage is nobody's fault who waits in the queue: work stands still, and no attempt is spent.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from http import HTTPStatus

import httpx
import psycopg
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.schema_registry.error import SchemaRegistryError
from django.db import InterfaceError, OperationalError
from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError

# PostgreSQL calls these operational, too, yet they may well be the message's own fault: a statement
# that ran out of time, and values beyond the server's limits (class 54).
MESSAGE_STATES = ("57014", "54")
# MongoDB: shutting down, stepping down, no primary, disk full.
AWAY_CODES = frozenset({91, 189, 10107, 11600, 11602, 13435, 13436, 14031})
REGISTRY_AWAY = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
KAFKA_AWAY = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001 (Kafka's client names its own errors so)
        KafkaError._MSG_TIMED_OUT,  # noqa: SLF001
        KafkaError._QUEUE_FULL,  # noqa: SLF001
        KafkaError._RESOLVE,  # noqa: SLF001
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError._TRANSPORT,  # noqa: SLF001
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)


class ErrorKind(enum.StrEnum):
    """What is to be done about an error; metrics and logs name it so."""

    RETRIABLE = "retriable"
    """The row is tried again later, and its key waits behind it."""
    BACKPRESSURE = "backpressure"
    """A server is away: all work waits, and no attempt is spent."""
    POISON = "poison"
    """It can never be handled: the topic's policy says what becomes of its key."""
    FATAL = "fatal"
    """Waiting does not mend it: the process ends loudly."""
    FENCED = "fenced"
    """Another process has taken over: forget all that is in hand, and begin anew."""


class LeaseLost(Exception):
    """Others count this relay as dead; whatever it still had in hand is theirs."""


class Unavailable(Exception):
    """Something that work depends on is away; trying again later is all there is to do."""


class Poison(Exception):
    """A record that can never be handled, however often it is tried.

    Args:
        kind: a word to filter dead letters by.
        message: what is wrong with it, for a person.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def kind_of(exc: BaseException) -> ErrorKind:
    """Say what an exception that ended a round of work means for the process."""
    if isinstance(exc, LeaseLost):
        return ErrorKind.FENCED
    if isinstance(exc, Poison):
        return ErrorKind.POISON
    return ErrorKind.BACKPRESSURE if is_outage(exc) else ErrorKind.FATAL


def is_outage(exc: BaseException) -> bool:
    """Say whether the exception, or what it was raised from, means that a server is away.

    A conflict that outlived its retries counts as well: it says nothing about the message.
    """
    return any(_is_outage(cause) for cause in _causes(exc))


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__


def _is_outage(exc: BaseException) -> bool:
    match exc:
        case PyMongoError():
            return (
                isinstance(exc, ConnectionFailure)
                or exc.timeout
                or exc.has_error_label("TransientTransactionError")
                or (isinstance(exc, OperationFailure) and exc.code in AWAY_CODES)
            )
        case psycopg.OperationalError():
            return not (exc.sqlstate or "").startswith(MESSAGE_STATES)
        case OperationalError():
            # Django's copy of the driver's error, which comes next, or an error without one.
            return exc.__cause__ is None
        case KafkaException(args=(KafkaError() as error, *_)):
            return bool(error.retriable()) or error.code() in KAFKA_AWAY
        case SchemaRegistryError(http_status_code=status):
            return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in REGISTRY_AWAY
        case _:
            return isinstance(exc, Unavailable | InterfaceError | httpx.TransportError)
