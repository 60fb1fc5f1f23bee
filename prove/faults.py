"""What is broken, and in which order: chosen by the seed, each kind alone first, then mixed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

WEBS = ("auth-web", "tickets-web", "orders-web", "payments-web", "expiration-web")
RELAYS = ("auth-relay", "tickets-relay", "payments-relay", "expiration-relay")
CONSUMERS = (
    *("auth-consumer", "tickets-consumer", "orders-consumer"),
    *("payments-consumer", "expiration-consumer"),
)
OTHERS = (
    *("orders-raw", "payments-settler", "auth-mailer"),
    *("expiration-worker", "expiration-beat"),
)
READERS = (*CONSUMERS, "orders-raw")
SENDERS = (*RELAYS, "orders-raw")
PROCESSES = (*RELAYS, *CONSUMERS, *OTHERS, *WEBS)
SERVERS = ("mongod", "postgres", "kafka", "connect", "registry", "redis", "provider", "gateway")
WRITERS = ("mongod", "postgres", "kafka")
LINKS = ("mongod", "postgres", "kafka", "redis", "registry", "provider")
PROVIDER_FAULTS = (
    *("timeout_before", "timeout_after", "error_before", "error_after"),
    *("drop_webhook", "double_webhook", "reorder_webhook"),
)
POISONED = (
    *("ticketing.orders", "ticketing.tickets", "ticketing.payments", "ticketing.expiration"),
    "ticketing.orders.raw",
)
# The longest lease of the system is that of the relays, 5 s; a consumer group gives up a member
# after 10 s or so (apps/outbox/membership.py, apps/outbox/kafka.py).
LONGER_THAN_LEASES = 13.0
MINUTES, HOUR = 120.0, 3600.0
# Who sets times by its own clock at which something is due for others, or for itself later: what it
# sets with a clock that is ahead comes late by that much, and the judge must wait for it. The rest
# may be an hour ahead.
SETS_TIMES = ("orders-web", "payments-web", *CONSUMERS, "payments-settler", "auth-mailer")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something to break.

    Args:
        kind: kill, term, stop, clock, down, full, wipe, cut, slow, stall, provider, poison, twin,
            version, schema or storm.
        targets: processes, servers, links, kinds of the provider's faults, or topics.
        seconds: how long it lasts; 0 for what only happens.
        ahead: of `clock`: seconds before the true time, or behind it if negative.
    """

    kind: str
    targets: tuple[str, ...]
    seconds: float = 0.0
    ahead: float = 0.0

    def __str__(self) -> str:
        by = f" {self.ahead:+.0f} s" if self.ahead else ""
        lasting = f" for {self.seconds:.0f} s" if self.seconds else ""
        return f"{self.kind}{by} {', '.join(self.targets)}{lasting}"

    @property
    def delays(self) -> float:
        """By how many seconds something may be due later than it should."""
        return max(self.ahead, 0.0) if set(self.targets) & set(SETS_TIMES) else 0.0


@dataclass(frozen=True, kw_only=True)
class Done:
    """A fault that was done: from when to when, in seconds since 1970."""

    fault: Fault
    began: float
    ended: float
    is_mixed: bool


KILLED_TOGETHER = 3
TWINS = (
    *("tickets-relay", "payments-relay", "orders-consumer", "payments-consumer"),
    *("orders-raw", "payments-settler", "expiration-worker", "expiration-beat"),
)


def alone(chance: random.Random, *, whole: bool) -> list[Fault]:
    """Return the kinds one by one.

    Args:
        chance: the seed's.
        whole: every target by itself; else a choice that fits into minutes.
    """
    killed: list[tuple[str, ...]] = [PROCESSES[i::KILLED_TOGETHER] for i in range(KILLED_TOGETHER)]
    stopped: list[tuple[str, ...]] = [
        (*RELAYS, "orders-raw", "expiration-worker"),
        (*CONSUMERS, "payments-settler"),
    ]
    if whole:
        killed = stopped = [(name,) for name in PROCESSES]
    faults = [Fault(kind="kill", targets=names, seconds=2) for names in killed]
    faults += [Fault(kind="stop", targets=names, seconds=LONGER_THAN_LEASES) for names in stopped]
    faults += clocks(whole=whole)
    faults += [Fault(kind="kill", targets=(name,), seconds=4) for name in SERVERS]
    faults += [
        Fault(kind="down", targets=(name,), seconds=chance.uniform(4, 8))
        for name in ("kafka", "connect", "registry", "redis")
    ]
    faults += [Fault(kind="full", targets=(name,), seconds=4) for name in WRITERS]
    faults += [Fault(kind="term", targets=names, seconds=2) for names in killed]
    faults.append(Fault(kind="wipe", targets=("redis",), seconds=1))
    ways = [(kind, name) for kind in ("cut", "slow", "stall") for name in LINKS]
    for kind, name in ways if whole else chance.sample(ways, 6):
        faults.append(Fault(kind=kind, targets=(name,), seconds=chance.uniform(3, 6)))
    faults += [
        Fault(kind="provider", targets=tuple(each), seconds=6)
        for each in (PROVIDER_FAULTS[:4], PROVIDER_FAULTS[4:])
    ]
    faults.append(Fault(kind="poison", targets=POISONED, seconds=2))
    faults.append(Fault(kind="twin", targets=TWINS, seconds=12))
    faults.append(Fault(kind="schema", targets=SENDERS, seconds=15))
    faults.append(Fault(kind="storm", targets=READERS, seconds=15))
    faults += [Fault(kind="version", targets=names, seconds=20) for names in killed]
    chance.shuffle(faults)
    return faults


def clocks(*, whole: bool) -> list[Fault]:
    """Return clocks that jump: an hour and minutes, ahead and behind, as far as each may.

    Args:
        whole: every process by itself; else together.
    """
    free = tuple(name for name in PROCESSES if name not in SETS_TIMES)
    jumps = ((HOUR, free), (MINUTES, SETS_TIMES), (-MINUTES, PROCESSES), (-HOUR, PROCESSES))
    return [
        Fault(kind="clock", targets=targets, seconds=6, ahead=ahead)
        for ahead, names in jumps
        for targets in ([(name,) for name in names] if whole else [names])
    ]


# How often each kind comes among mixed faults.
OFTEN = {
    "kill": 30,
    "term": 8,
    "stop": 10,
    "clock": 8,
    "down": 10,
    "full": 4,
    "wipe": 2,
    "cut": 8,
    "slow": 4,
    "stall": 8,
    "provider": 12,
    "poison": 4,
    "twin": 6,
    "version": 5,
    "schema": 3,
    "storm": 4,
}


def mixed(chance: random.Random) -> Iterator[Fault]:
    """Yield faults without an end, of all kinds."""
    while True:
        kind = chance.choices(list(OFTEN), list(OFTEN.values()))[0]
        pools = {
            "kill": (*PROCESSES, *SERVERS),
            "term": PROCESSES,
            "full": WRITERS,
            "stop": PROCESSES,
            "clock": PROCESSES,
            "down": SERVERS[:-1],
            "wipe": ("redis",),
            "provider": PROVIDER_FAULTS,
            "poison": POISONED,
            "version": PROCESSES,
            "storm": READERS,
            "schema": SENDERS,
            "twin": tuple(name for name in PROCESSES if name not in WEBS),
        }
        pool = pools.get(kind, LINKS)
        count = min(chance.choice((1, 1, 2, 3)), len(pool))
        seconds = {
            "kill": chance.uniform(0, 2),
            "term": chance.uniform(0, 2),
            "stop": LONGER_THAN_LEASES,
            "wipe": 0.0,
            "poison": 0.0,
            # To have started and to have done something.
            "version": chance.uniform(10, 20),
            "schema": chance.uniform(10, 15),
        }.get(kind, chance.uniform(2, 8))
        targets = tuple(chance.sample(pool, count))
        ahead = 0.0
        if kind == "clock":
            may_be_far = not set(targets) & set(SETS_TIMES)
            ahead = chance.choice((-HOUR, -MINUTES, MINUTES, HOUR if may_be_far else MINUTES))
        yield Fault(kind=kind, targets=targets, seconds=seconds, ahead=ahead)
