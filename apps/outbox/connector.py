"""Debezium on PostgreSQL: its configuration, and bringing it to run without missing a row.

Debezium's EventRouter hands each new row of the outbox to one raw topic, as it is; the raw worker
makes the event's record of it. Source connectors have no dead letters, so that Debezium decides
nothing about a row.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import httpx
import structlog
from django.db import connection

from .conf import settings
from .models import OutboxEvent
from .transactions import transactional

log = structlog.get_logger(__name__)

TABLE = "outbox_event"
CONNECTOR_CLASS = "io.debezium.connector.postgresql.PostgresConnector"
HEADERS = (
    "type",
    "record",
    "topic",
    "version",
    "aggregate_type",
    "aggregate_id",
    "occurred_at",
    "headers",
    "state",
)
HANDED_OVER = "The rows from before the replication slot were handed to the relay."
TIMEOUT_SECONDS = 90.0
POLL_SECONDS = 0.5
REQUEST_TIMEOUT_SECONDS = 60.0  # Connect itself gives up after 90


class ConnectorFailed(Exception):
    """Connect cannot run the connector."""


def slot_name(connector: str) -> str:
    """Name the replication slot and the publication: PostgreSQL takes letters and digits only."""
    return re.sub(r"[^a-z0-9_]", "_", connector.lower())


def configuration(connector: str, raw_topic: str) -> dict[str, str]:
    """Return the connector's configuration for the default database."""
    database = connection.settings_dict
    slot = slot_name(connector)
    return {
        "connector.class": CONNECTOR_CLASS,
        "tasks.max": "1",
        "database.hostname": str(database["HOST"]),
        "database.port": str(database["PORT"] or 5432),
        "database.user": str(database["USER"]),
        # Whoever may read Connect's configurations reads this: better what Connect looks up itself.
        "database.password": settings.OUTBOX_CONNECTOR_PASSWORD or str(database["PASSWORD"]),
        "database.dbname": str(database["NAME"]),
        "topic.prefix": connector,
        "plugin.name": "pgoutput",
        # Both are made by `prepare`, before the first row is written, and outlive the connector.
        "slot.name": slot,
        "slot.drop.on.stop": "false",
        # A slot ahead of what Connect has confirmed was made anew, and rows are missing: the task
        # fails, where Debezium would by default go on behind the gap.
        "offset.mismatch.strategy": "trust_offset",
        "publication.name": slot,
        "publication.autocreate.mode": "disabled",
        "table.include.list": f"public.{TABLE}",
        # A snapshot would send the whole table again.
        "snapshot.mode": "no_data",
        "skipped.operations": "u,d,t",
        "tombstones.on.delete": "false",
        "poll.interval.ms": "50",
        "retriable.restart.connector.wait.ms": "2000",
        # Without a heartbeat the slot keeps all of PostgreSQL's log while the outbox is quiet.
        "heartbeat.interval.ms": "10000",
        "heartbeat.action.query": f"SELECT pg_logical_emit_message(false, '{slot}', '')",
        "errors.tolerance": "none",
        "topic.creation.default.partitions": "1",
        "topic.creation.default.replication.factor": "-1",
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "header.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "io.debezium.converters.BinaryDataConverter",
        # Heartbeats are no bytes, and would kill the task without this.
        "value.converter.delegate.converter.type": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter.delegate.converter.type.schemas.enable": "false",
        "predicates": "outbox",
        "predicates.outbox.type": "org.apache.kafka.connect.transforms.predicates.TopicNameMatches",
        "predicates.outbox.pattern": rf"{re.escape(connector)}\.public\.{TABLE}",
        "transforms": "outbox",
        "transforms.outbox.type": "io.debezium.transforms.outbox.EventRouter",
        "transforms.outbox.predicate": "outbox",
        "transforms.outbox.table.field.event.id": "_id",
        "transforms.outbox.table.field.event.key": "key",
        "transforms.outbox.table.field.event.payload": "payload",
        "transforms.outbox.table.fields.additional.placement": ",".join(
            f"{column}:header" for column in HEADERS
        ),
        "transforms.outbox.route.by.field": "topic",
        "transforms.outbox.route.topic.regex": ".*",
        "transforms.outbox.route.topic.replacement": raw_topic,
    }


def prepare(connector: str) -> bool:
    """Make the publication and the replication slot, and return whether the slot is new.

    From then on PostgreSQL keeps each new row for the connector, whether it runs or not. The
    publication comes first: reading the log from before its creation fails.
    """
    slot = slot_name(connector)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_publication WHERE pubname = %s", [slot])
        if cursor.fetchone() is None:
            cursor.execute(
                f"CREATE PUBLICATION \"{slot}\" FOR TABLE {TABLE} WITH (publish = 'insert')"
            )
        cursor.execute("SELECT 1 FROM pg_replication_slots WHERE slot_name = %s", [slot])
        if cursor.fetchone() is not None:
            return False
        # What was handed over before belongs to a slot that is gone.
        cursor.execute(f'COMMENT ON PUBLICATION "{slot}" IS NULL')
        cursor.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [slot])
    return True


@transactional
def hand_to_relay(connector: str) -> int:
    """Give the rows that no slot kept to the relay, once a slot, and return how many they are.

    The publication's comment says that it is done: a slot is made outside of any transaction, so
    a crash behind it must find out that the rows from before it still wait. A row that the new
    slot has kept as well is sent twice, which its readers do not notice.
    """
    slot = slot_name(connector)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT obj_description(oid, 'pg_publication') FROM pg_publication WHERE pubname = %s",
            [slot],
        )
        if cursor.fetchone() == (HANDED_OVER,):
            return 0
        cursor.execute(f"COMMENT ON PUBLICATION \"{slot}\" IS '{HANDED_OVER}'")
    State = OutboxEvent.State  # noqa: N806 (a class)
    return OutboxEvent.objects.filter(state=State.CAPTURED).update(state=State.PENDING)


class Connect:
    """Kafka Connect's REST interface.

    Args:
        url: where it answers.
        name: the connector.
    """

    def __init__(self, url: str, name: str) -> None:
        self._http = httpx.Client(base_url=url.rstrip("/"), timeout=REQUEST_TIMEOUT_SECONDS)
        self._name = name
        self._path = f"/connectors/{name}"

    def apply(self, wanted: dict[str, str]) -> bool:
        """Put the configuration in place, and return whether it is different from before."""
        if self.running_configuration() == wanted:
            return False
        self._ask("PUT", f"{self._path}/config", wanted)
        return True

    def await_running(self, timeout: float = TIMEOUT_SECONDS) -> None:
        """Wait until the connector and its task run; a failed task is started again once.

        Raises:
            ConnectorFailed: it failed again, or the time is up.
        """
        deadline = time.monotonic() + timeout
        has_restarted = False
        states: list[str] = []
        while time.monotonic() < deadline:
            answer = self._http.get(f"{self._path}/status")
            status = answer.json() if answer.status_code == HTTPStatus.OK else {}
            parts = [status["connector"], *status["tasks"]] if status else []
            states = [part["state"] for part in parts]
            if len(states) > 1 and set(states) == {"RUNNING"}:
                return
            if "FAILED" in states:
                trace = next(part.get("trace", "") for part in parts if part["state"] == "FAILED")
                if has_restarted:
                    raise ConnectorFailed(trace)
                log.warning("connector_restarted", trace=trace[:500])
                self._http.post(f"{self._path}/restart?includeTasks=true&onlyFailed=true")
                has_restarted = True
            time.sleep(POLL_SECONDS)
        raise ConnectorFailed(f"After {timeout:.0f} s its states are {states or 'not known'}.")

    def running_configuration(self) -> dict[str, str] | None:
        """Return the connector's configuration as Connect has it; None without a connector."""
        answer = self._ask("GET", f"{self._path}/config", may_lack=True)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        return {name: value for name, value in answer.json().items() if name != "name"}

    def states(self) -> list[str]:
        """Return the states of the connector and its tasks; none if there is no connector."""
        answer = self._http.get(f"{self._path}/status")
        status = answer.json() if answer.status_code == HTTPStatus.OK else {}
        parts = [status["connector"], *status["tasks"]] if status else []
        return [part["state"] for part in parts]

    def is_stopped(self) -> bool:
        """Whether the connector was stopped, or was made so and never started."""
        return self.states()[:1] == ["STOPPED"]

    def plugin_version(self) -> str | None:
        """Return the version of Debezium's connector; None if Connect has none."""
        answer = self._http.get("/connector-plugins")
        answer.raise_for_status()
        return next(
            (each["version"] for each in answer.json() if each["class"] == CONNECTOR_CLASS), None
        )

    def confirmed_lsn(self) -> int | None:
        """Return how far the raw topic has the rows, by Connect's own record; None if unknown."""
        answer = self._http.get(f"{self._path}/offsets")
        if answer.status_code != HTTPStatus.OK:
            return None
        numbers = [
            number
            for each in answer.json()["offsets"]
            for name, number in (each["offset"] or {}).items()
            if name in {"lsn", "lsn_proc", "lsn_commit"} and number is not None
        ]
        return max(numbers, default=None)

    def stop(self) -> None:
        """Let go of the slot; the configuration and how far it was stay, if there are any.

        Raises:
            ConnectorFailed: it does not stop.
        """
        answer = self._ask("PUT", f"{self._path}/stop", may_lack=True)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            status = self._http.get(f"{self._path}/status").json()
            if not status.get("tasks", True) and status["connector"]["state"] == "STOPPED":
                return
            time.sleep(POLL_SECONDS)
        raise ConnectorFailed("It does not stop.")

    def begin_anew(self, wanted: dict[str, str]) -> None:
        """Forget how far the connector was, and start it at its slot.

        The position of another slot would stop it, or pass over rows.
        """
        # To make one that is there already is a conflict as well, which no patience ends.
        if self.running_configuration() is None:
            body = {"name": self._name, "config": wanted, "initial_state": "STOPPED"}
            self._ask("POST", "/connectors", body)
        self.stop()
        self._ask("DELETE", f"{self._path}/offsets")
        self.apply(wanted)
        self.resume()

    def resume(self) -> None:
        self._ask("PUT", f"{self._path}/resume")

    def delete(self) -> None:
        """Remove the connector; the slot goes on keeping rows."""
        self._http.delete(self._path)

    def close(self) -> None:
        self._http.close()

    def _ask(
        self,
        method: str,
        address: str,
        body: Mapping[str, object] | None = None,
        *,
        may_lack: bool = False,
    ) -> httpx.Response:
        """Ask again while Connect's workers agree on who does what, and return the answer.

        Raises:
            ConnectorFailed: it refuses; that there is no connector is an answer if it may lack.
        """
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while True:
            answer = self._http.request(method, address, json=body)
            if not _is_rebalancing(answer) or time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS)
        if answer.is_error and not (may_lack and answer.status_code == HTTPStatus.NOT_FOUND):
            _refuse(answer)
        return answer


def connect_from_settings() -> Connect:
    return Connect(settings.CONNECT_URL, settings.OUTBOX_CONNECTOR)


def _is_rebalancing(answer: httpx.Response) -> bool:
    """Say whether Connect only has to agree with itself first; it says so by two statuses."""
    return answer.status_code == HTTPStatus.CONFLICT or (
        answer.status_code == HTTPStatus.INTERNAL_SERVER_ERROR and "rebalance" in answer.text
    )


def _refuse(answer: httpx.Response) -> None:
    body: Any = answer.json() if answer.text.startswith("{") else {"message": answer.text}
    raise ConnectorFailed(f"{answer.status_code}: {body.get('message', body)}")
