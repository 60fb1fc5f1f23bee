"""What each benchmark works with: servers, and databases and topics that go with it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Self, TypeVar

from bench.cpu import CpuMeter
from bench.debezium import Debezium
from bench.processes import Processes, Started
from bench.servers import Servers
from bench.stores import Database, Mongo, Postgres
from bench.topic import BenchTopic

D = TypeVar("D", bound=Database)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured.

    Args:
        events: in a drain.
        keys: that they are spread over.
        repeat: how often each is measured.
        seconds: of a latency run, and of idling.
        published: how many rows have been sent before, in the benchmark of growth.
    """

    events: int = 200_000
    keys: int = 5_000
    repeat: int = 3
    seconds: int = 60
    published: tuple[int, ...] = (1_000, 100_000, 2_000_000)

    @property
    def some(self) -> int:
        """A quarter of the events, where that says as much."""
        return max(1, self.events // 4)


class Session:
    """Makes what a benchmark needs on the servers, and removes it at the end."""

    def __init__(self, servers: Servers, sizes: Sizes, say: Callable[[str], None] = print) -> None:
        self.servers = servers
        self.sizes = sizes
        self.say = say
        self.environment = servers.environment
        self.processes = Processes(servers.environment, servers.config.logs)
        self.meter = CpuMeter(servers.mark)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def topic(self, *, schema: bool = True) -> BenchTopic:
        topic = BenchTopic(self.environment, schema=schema)
        self._stack.callback(topic.delete)
        return topic

    @contextmanager
    def passing_topic(self) -> Iterator[BenchTopic]:
        """Give a topic for one run."""
        topic = BenchTopic(self.environment)
        try:
            yield topic
        finally:
            topic.delete()

    def mongo(self) -> Mongo:
        return self._migrated(Mongo(self.environment, _name()))

    def postgres(self) -> Postgres:
        return self._migrated(Postgres(self.environment, _name()))

    def stores(self) -> tuple[Database, Database]:
        return self.mongo(), self.postgres()

    def debezium(self) -> Debezium:
        topic, raw = self.topic(), self.topic(schema=False)
        database = self.postgres()
        debezium = Debezium(database, topic, raw, self.processes, self.environment["CONNECT_URL"])
        self._stack.callback(debezium.delete)
        return debezium

    def relay(self, database: Database, topic: BenchTopic) -> Started:
        extra = {"BENCH_TOPIC": topic.name, "OUTBOX_TRANSPORT": "relay"}
        return self.processes.manage("relay_outbox", database.environment | extra)

    def _migrated(self, database: D) -> D:
        self._stack.callback(database.drop)
        self.processes.run("migrate", database.environment | {"BENCH_TOPIC": "none"}, "outbox")
        return database


def _name() -> str:
    return f"bench_{uuid.uuid4().hex[:8]}"
