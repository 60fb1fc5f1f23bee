"""The settings of Kafka's clients."""

from __future__ import annotations

import os
from typing import Any

import structlog
from confluent_kafka import KafkaError

from .conf import settings

log = structlog.get_logger(__name__)

LARGEST_RECORD = 1_000_000


def client_settings() -> dict[str, Any]:
    """Return what all of Kafka's clients share."""
    return {
        "bootstrap.servers": settings.KAFKA_BOOTSTRAP_SERVERS,
        "client.id": f"{settings.SERVICE_NAME}-{os.getpid()}",
        "error_cb": _log_error,
        "log_level": 2,
        "reconnect.backoff.max.ms": 2000,
        **settings.KAFKA_SECURITY,
    }


def producer_settings() -> dict[str, Any]:
    """Return the settings of a producer whose acknowledged records are safe and in order."""
    return client_settings() | {
        "acks": "all",
        "enable.idempotence": True,
        # A batch that fails for good ends the producer instead of leaving a gap before the next.
        "enable.gapless.guarantee": True,
        # A message never times out by itself, since the next one of its key would overtake it.
        "message.timeout.ms": 0,
        "message.max.bytes": LARGEST_RECORD,
        # Long enough for a topic just created to be known, short enough for the others to go on.
        "topic.metadata.propagation.max.ms": 5000,
        # Nobody waits this long: a flush sends at once what is queued.
        "linger.ms": 5,
        # A batch has arrived when nothing is queued and no error was reported. A report of success
        # for each record would cost as much as sending it.
        "delivery.report.only.error": True,
        "compression.type": "lz4",
    }


def fenced_settings(owner: str) -> dict[str, Any]:
    """Return the settings of a producer that sends each batch in a transaction of this name."""
    return producer_settings() | {
        "transactional.id": f"{settings.SERVICE_NAME}-relay-{owner}",
        # How long a transaction of a relay that has died can hold up readers if nobody fences it.
        "transaction.timeout.ms": 30_000,
        "message.timeout.ms": 30_000,
        # A transaction is sent again as a whole.
        "enable.gapless.guarantee": False,
    }


def _log_error(error: KafkaError) -> None:
    if error.code() == KafkaError._TRANSPORT:  # noqa: SLF001
        return  # repeated for each attempt to connect; that all brokers are down is said as well
    log.warning("kafka_client", error=error.str(), code=error.name(), fatal=error.fatal())
