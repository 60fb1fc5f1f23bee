"""Does to the running system what faults.py has chosen, and mends it."""

from __future__ import annotations

import random
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

import httpx
import redis
from confluent_kafka import Producer

from prove import storm
from prove.faults import WEBS, Done, Fault
from prove.proxy import Mode
from prove.versions import Version
from prove.world import World

PATIENCE_SECONDS = 120.0


@dataclass
class Breaker:
    """Does the faults, one after the other.

    Args:
        world: what is broken.
        chance: the seed's.
    """

    world: World
    chance: random.Random
    done: list[Done] = field(default_factory=list)
    planted: list[tuple[str, str]] = field(default_factory=list)
    """Topic and event id of each poison record."""
    comers: int = 0
    """How often a member was let into a group by a storm."""

    def do(self, fault: Fault, wait: Callable[[float], object], *, mixed: bool = False) -> None:
        """Break it, keep it broken, and mend it."""
        began = time.time()
        action: Callable[[Fault], Iterator[None]] = getattr(self, f"_{fault.kind}")
        for _ in action(fault):
            wait(fault.seconds)
        self.done.append(Done(fault=fault, began=began, ended=time.time(), is_mixed=mixed))

    def _kill(self, fault: Fault) -> Iterator[None]:
        for name in fault.targets:
            self.world.send(name, signal.SIGKILL)
        yield

    def _term(self, fault: Fault) -> Iterator[None]:
        """Ask processes to stop, as a roll-out does; the supervisor starts them again."""
        for name in fault.targets:
            self.world.ask_to_stop(name)
        yield

    def _stop(self, fault: Fault) -> Iterator[None]:
        for name in fault.targets:
            self.world.send(name, signal.SIGSTOP)
        try:
            yield
        finally:
            for name in fault.targets:
                self.world.send(name, signal.SIGCONT)

    def _clock(self, fault: Fault) -> Iterator[None]:
        """Set clocks while everything goes on, and set them right again."""
        self.world.set_clocks(fault.targets, fault.ahead)
        try:
            yield
        finally:
            self.world.set_clocks(fault.targets, 0)

    def _down(self, fault: Fault) -> Iterator[None]:
        """Take servers away without a warning, and keep them away."""
        supervisor = self.world.supervisor
        for name in fault.targets:
            self.world.send(name, signal.SIGKILL)
        try:
            supervisor.stop(fault.targets)
            yield
        finally:
            for name in fault.targets:
                supervisor.start(name)

    def _full(self, fault: Fault) -> Iterator[None]:
        """Let every write to a file fail, as on a full disk, until the server gives up or after."""
        for name in fault.targets:
            self.world.limit_files(name, "1")
        try:
            yield
        finally:
            for name in fault.targets:
                self.world.limit_files(name, "unlimited")

    def _wipe(self, _fault: Fault) -> Iterator[None]:
        with closing(redis.Redis(port=self.world.direct.ports["redis"])) as client:
            when_there(client.flushall)
        yield

    def _cut(self, fault: Fault) -> Iterator[None]:
        yield from self._disturb(fault, Mode.CUT)

    def _slow(self, fault: Fault) -> Iterator[None]:
        yield from self._disturb(fault, Mode.SLOW)

    def _stall(self, fault: Fault) -> Iterator[None]:
        yield from self._disturb(fault, Mode.STALLED)

    def _disturb(self, fault: Fault, mode: Mode) -> Iterator[None]:
        for name in fault.targets:
            self.world.links.switch(name, mode)
        try:
            yield
        finally:
            for name in fault.targets:
                # What hung in a half-open connection is lost with it, as behind a dead router.
                if mode is Mode.STALLED:
                    self.world.links.switch(name, Mode.CUT)
                self.world.links.switch(name, Mode.OPEN)

    def _provider(self, fault: Fault) -> Iterator[None]:
        config = self.world.direct
        url = f"http://{config.address('provider')}/_sandbox/faults"
        headers = {"Authorization": f"Bearer {config.secrets['STRIPE_KEY']}"}
        for kind in fault.targets:
            seconds = self.chance.uniform(0.5, 3.0)
            order = {"kind": kind, "times": 3, "seconds": seconds}
            when_there(partial(httpx.post, url, json=order, headers=headers))
        yield
        when_there(partial(httpx.delete, url, headers=headers))

    def _poison(self, fault: Fault) -> Iterator[None]:
        """Put records on topics that are no events: bytes, and an unknown schema's id."""
        config = self.world.direct
        producer = Producer({"bootstrap.servers": config.address("kafka"), "log_level": 0})
        for topic in fault.targets:
            event_id = str(uuid.UUID(int=self.chance.getrandbits(128), version=4))
            value = self.chance.choice((b"\xff\xfe no event", b"\x00\x7f\xff\xff\xff body", b""))
            headers: dict[str, str | bytes | None] = {"ce_id": event_id, "id": event_id}
            producer.produce(topic, key=event_id.encode(), value=value, headers=headers)
            self.planted.append((topic, event_id))
        if producer.flush(PATIENCE_SECONDS):
            raise RuntimeError("Kafka did not take the poison.")
        yield

    def _twin(self, fault: Fault) -> Iterator[None]:
        for name in fault.targets:
            self.world.start_twin(name)
        try:
            yield
        finally:
            self.world.end_extra()

    def _version(self, fault: Fault) -> Iterator[None]:
        """Run processes of the earlier version, as in the midst of a roll-out.

        Web servers stand in the place of the present ones, whose ports they need; all others
        stand beside them.
        """
        if self.world.earlier is not None:
            replaced = tuple(name for name in fault.targets if name in WEBS)
            yield from self._run(self.world.earlier, fault.targets, replaced)

    def _schema(self, fault: Fault) -> Iterator[None]:
        """Have all events sent by a version whose schemas have one more field."""
        yield from self._run(self.world.newer, fault.targets, fault.targets)

    def _run(
        self, version: Version, names: tuple[str, ...], replaced: tuple[str, ...]
    ) -> Iterator[None]:
        supervisor = self.world.supervisor
        try:
            supervisor.stop(replaced)
            for name in names:
                self.world.start_of(version, name)
            yield
        finally:
            self.world.retire_extra()
            for name in replaced:
                supervisor.start(name)

    def _storm(self, fault: Fault) -> Iterator[None]:
        with storm.raging(self.world.direct.address("kafka"), fault.targets) as let_in:
            yield
        self.comers += len(let_in)


def when_there(action: Callable[[], object]) -> None:
    """Do it as soon as the server that it needs is back from the fault before."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            action()
        except (httpx.HTTPError, redis.RedisError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return
