"""Debezium on a database of its own, configured as apply_connector does it, and kept warm."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextlib import suppress

import httpx
import psycopg

from bench.processes import Processes
from bench.stores import Postgres
from bench.topic import BenchTopic

SECONDS = 120.0
PAUSE = 0.2


class Debezium:
    """One connector. While it is stopped, its replication slot keeps what is written.

    Args:
        database: whose outbox it reads.
        topic: of the events, to which the raw worker sends.
        raw: where Debezium writes.
        processes: starts `apply_connector`.
        connect_url: of Kafka Connect.
    """

    def __init__(
        self,
        database: Postgres,
        topic: BenchTopic,
        raw: BenchTopic,
        processes: Processes,
        connect_url: str,
    ) -> None:
        self.database = database
        self.topic = topic
        self.raw = raw
        self.name = f"bench-{uuid.uuid4().hex[:8]}"
        self._http = httpx.Client(base_url=connect_url, timeout=30.0)
        processes.run("apply_connector", self.environment)

    @property
    def environment(self) -> dict[str, str]:
        return self.database.environment | {
            "OUTBOX_TRANSPORT": "debezium",
            "BENCH_TOPIC": self.topic.name,
            "BENCH_RAW_TOPIC": self.raw.name,
            "BENCH_CONNECTOR": self.name,
        }

    def stop(self) -> None:
        self._http.put(f"/connectors/{self.name}/stop").raise_for_status()
        self._wait(lambda: self._state() == ("STOPPED", ()) and not self._is_slot_active())

    def resume(self) -> None:
        self._http.put(f"/connectors/{self.name}/resume").raise_for_status()

    def wait_until_running(self) -> None:
        self._wait(lambda: self._state() == ("RUNNING", ("RUNNING",)) and self._is_slot_active())

    def delete(self) -> None:
        self._http.delete(f"/connectors/{self.name}")
        self._http.close()
        slot = self.name.replace("-", "_")
        self._wait(lambda: self._drop(slot))

    def _drop(self, slot: str) -> bool:
        with suppress(psycopg.errors.ObjectInUse):
            self.database.connection.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                " WHERE slot_name = %s",
                [slot],
            )
            return True
        return False

    def _state(self) -> tuple[str, tuple[str, ...]]:
        answer = self._http.get(f"/connectors/{self.name}/status")
        if answer.is_error:
            return "", ()
        status = answer.json()
        return status["connector"]["state"], tuple(each["state"] for each in status["tasks"])

    def _is_slot_active(self) -> bool:
        [(active,)] = self.database.connection.execute(
            "SELECT bool_or(active) FROM pg_replication_slots WHERE database = current_database()"
        ).fetchall()
        return bool(active)

    def _wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name}: {self._state()} after {SECONDS:.0f} s")
            time.sleep(PAUSE)
