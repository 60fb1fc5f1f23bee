"""Settings of what is measured: a service's own, with the benchmark's topics and handlers."""

from __future__ import annotations

from apps.outbox.topics import Topic
from ticketing.env import env_str
from ticketing.topics import TOPICS

PARTITIONS = 3
BENCH_TOPIC = env_str("BENCH_TOPIC")
OUTBOX_RAW_TOPIC = env_str("BENCH_RAW_TOPIC", f"{BENCH_TOPIC}.raw")
OUTBOX_CONNECTOR = env_str("BENCH_CONNECTOR", "bench")
CONSUMER_GROUP = env_str("BENCH_GROUP", "bench")
OUTBOX_TOPICS: tuple[Topic, ...] = (
    *TOPICS,
    Topic(BENCH_TOPIC, PARTITIONS, "Events of a benchmark.", namespace="ticketing.orders"),
    Topic(OUTBOX_RAW_TOPIC, PARTITIONS, "Rows of a benchmark."),
)
OUTBOX_CONSUMERS: dict[str, tuple[str, ...]] = {CONSUMER_GROUP: (BENCH_TOPIC,)}
EVENT_HANDLERS = f"bench.handlers.{env_str('BENCH_HANDLERS', 'HANDLERS')}"
