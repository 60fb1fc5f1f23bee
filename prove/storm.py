"""A rebalance storm: members come to consumer groups and go again, as while pods crash or scale.

Each that comes is given partitions in its turn, reads some records of them, keeps none, and leaves.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, TopicPartition

from ticketing.topics import CONSUMERS

RAW = "ticketing.orders.raw"
COMERS_OF_A_GROUP = 2
POLLS, POLL_SECONDS = 4, 0.25
# As in apps/outbox/reading.py: whoever divides otherwise is not let in.
OF_CONSUMERS = {"partition.assignment.strategy": "cooperative-sticky"}


def group_of(name: str) -> tuple[str, tuple[str, ...], dict[str, str]]:
    """Return the group in which a process of ours reads, its topics, and how they are divided.

    Args:
        name: of a consumer or of the raw worker.
    """
    if name == "orders-raw":
        return f"{RAW}.worker", (RAW,), {}
    group = f"ticketing.{name.removesuffix('-consumer')}"
    return group, CONSUMERS[group], OF_CONSUMERS


@contextmanager
def raging(servers: str, names: Collection[str]) -> Iterator[list[str]]:
    """Keep members coming and going in the groups of these processes; give who was let in.

    Args:
        servers: Kafka's.
        names: of consumers and of the raw worker.
    """
    over = threading.Event()
    let_in: list[str] = []
    comers = [
        threading.Thread(target=come_and_go, args=(servers, name, let_in, over))
        for name in names
        for _ in range(COMERS_OF_A_GROUP)
    ]
    for comer in comers:
        comer.start()
    try:
        yield let_in
    finally:
        over.set()
        for comer in comers:
            comer.join()


def come_and_go(servers: str, name: str, let_in: list[str], over: threading.Event) -> None:
    """Join the group and leave it, again and again until it is over."""
    group, topics, division = group_of(name)

    def note(_member: Consumer, _partitions: list[TopicPartition]) -> None:
        let_in.append(name)

    while not over.is_set():
        member = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": group,
                "client.id": "storm",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "log_level": 0,
                **division,
            }
        )
        try:
            member.subscribe(list(topics), on_assign=note)
            for _ in range(POLLS):
                if not over.is_set():
                    member.poll(POLL_SECONDS)
        finally:
            member.close()
