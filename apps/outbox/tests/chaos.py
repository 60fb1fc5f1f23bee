"""Relays, writers and consumers in processes of their own, and what is done to them."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field

from django.db import connection
from django.utils import timezone

from apps.outbox.models import OutboxEvent, ReceivedEvent
from apps.outbox.testing.history import Event, Fault, History, Outcome, Transaction
from apps.outbox.testing.reading import (
    read_group,
    read_letters,
    read_rows,
    read_topic,
    read_topics,
)
from apps.outbox.tests.chaos_parts import counter_id
from apps.outbox.tests.sending import AVRO_DIR, wait_for
from apps.outbox.topics import dead_letter_topic

KEYS = [f"gate-{n}" for n in range(50)]
BATCH = 20
# While one batch is on its way, the one before it is marked, and the next one is read.
MOST_UNMARKED = 3 * BATCH
LEASE_SECONDS = 1.0
DRAIN_SECONDS = 120
# Eight processes load Django at once.
START_SECONDS = 120
# By itself, or by us; a signal may come before anybody listens to it.
ENDS = (0, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGUSR1)


@dataclass
class Actor:
    """A process that may be killed and paused; it is started anew under the same name."""

    name: str
    command: list[str]
    in_flight: int = 0
    process: subprocess.Popen | None = None
    resumes_at: float | None = None

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def start(self):
        self.process = subprocess.Popen(
            self.command, env=os.environ | {"LOG_LEVEL": os.environ.get("CHAOS_LOG", "CRITICAL")}
        )
        self.resumes_at = None

    def signal(self, number):
        if self.is_running:
            self.process.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.wait()


@dataclass
class Chaos:
    """What happens to one topic of the test database, decided by the seed."""

    bench: object
    seed: int
    directory: object
    is_fenced: bool = False
    faults: list[Fault] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.random = random.Random(self.seed)
        self.group = f"chaos-{uuid.uuid4().hex[:12]}"
        self.group_dlq = dead_letter_topic(self.bench.topic, self.group)
        self.bench.create(self.group_dlq)
        self.logs = []
        for key in KEYS:
            for kind in ("versions", "effects"):
                make_counter(kind, key)
        common = {
            "database": connection.settings_dict["NAME"],
            "avro_dir": str(AVRO_DIR),
            "topic": self.bench.topic,
        }
        self.relays = [self._relay(n, common) for n in range(3)]
        self.writers = [self._writer(n, common) for n in range(3)]
        self.consumers = [self._consumer(n, common) for n in range(2)]

    @property
    def actors(self):
        return [*self.relays, *self.writers, *self.consumers]

    def run(self, seconds):
        """Do harm for so long; everybody who is down at the end is up again."""
        for actor in self.actors:
            actor.start()
        wait_for(lambda: all(log.exists() for log in self.logs), START_SECONDS)
        wait_for(lambda: self._rows().filter(state="published").exists(), START_SECONDS)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._revive()
            self._harm(self.random.choice(self.relays + self.consumers + self.writers[:1]))
            time.sleep(self.random.uniform(0.1, 0.7))  # the pace of what happens
        for actor in self.actors:
            actor.signal(signal.SIGCONT)
            actor.resumes_at = None
        self._revive()

    def drain(self):
        """Wait until all that was committed has arrived, with the effects that it has."""
        for writer in self.writers:
            writer.signal(signal.SIGTERM)
        for writer in self.writers:
            writer.process.wait(DRAIN_SECONDS)
        wait_for(self._is_at_rest, DRAIN_SECONDS)
        for actor in self.relays + self.consumers:
            actor.signal(signal.SIGTERM)
        for actor in self.relays + self.consumers:
            assert actor.process.wait(60) in ENDS, actor.name

    def close(self):
        for actor in self.actors:
            if actor.is_running:
                actor.kill()

    def history(self):
        registry = self.bench.registry
        counted = self._counters("effects").values_list("aggregate_id", "attempts")
        return History(
            transactions=[each for log in self.logs for each in read_log(log)],
            deliveries=read_topic(self.bench.topic, registry),
            rows=read_rows([self.bench.topic], registry),
            letters=read_letters([self.bench.topic]),
            buried=read_topics([self.bench.dlq, self.group_dlq]),
            readings=[read_group(self.group, [self.bench.topic], effects=dict(counted))],
            faults=self.faults,
        )

    def effects_that_went_back(self):
        return list(
            self._counters("effects").exclude(last_error="").values_list("key", "last_error")
        )

    def _relay(self, number, common):
        options = {"batch": BATCH, "lease_seconds": LEASE_SECONDS, "owner": f"relay-{number}"}
        options["is_fenced"] = self.is_fenced
        return Actor(
            f"relay {number}",
            _command("apps.outbox.tests.relay_process", json.dumps(common | options)),
            # What brokers have shut out never appears, and what has appeared is found there.
            in_flight=0 if self.is_fenced else MOST_UNMARKED,
        )

    def _writer(self, number, common):
        log = self.directory / f"writer-{number}.jsonl"
        self.logs.append(log)
        options = {"seed": self.random.random(), "keys": KEYS, "log": str(log)}
        return Actor(
            f"writer {number}",
            _command("apps.outbox.tests.chaos_process", "writer", json.dumps(common | options)),
        )

    def _consumer(self, number, common):
        options = json.dumps(common | {"group": self.group})
        return Actor(
            f"consumer {number}", _command("apps.outbox.tests.chaos_process", "consumer", options)
        )

    def _harm(self, actor):
        if not actor.is_running or actor.resumes_at is not None:
            return
        what = self.random.choices(["kill", "pause", "stop", "jump"], [4, 4, 1, 2])[0]
        if what == "jump" and actor in self.consumers:
            return  # it looks at no clock but to wait
        in_flight = 0 if what in ("stop", "jump") else actor.in_flight
        self.faults.append(Fault(at=time.time(), what=f"{what} {actor.name}", in_flight=in_flight))
        if what == "kill":
            actor.kill()
        elif what == "stop":
            actor.signal(signal.SIGTERM)
        elif what == "jump":
            actor.signal(signal.SIGUSR1)
        else:
            actor.signal(signal.SIGSTOP)
            pause = self.random.uniform(0.5, 3.0) * LEASE_SECONDS
            actor.resumes_at = time.monotonic() + pause

    def _revive(self):
        for actor in self.actors:
            if not actor.is_running:
                if actor.process.returncode not in ENDS:
                    self.crashes.append(f"{actor.name}: {actor.process.returncode}")
                actor.start()
            elif actor.resumes_at is not None and time.monotonic() >= actor.resumes_at:
                actor.signal(signal.SIGCONT)
                actor.resumes_at = None

    def _is_at_rest(self):
        rows = self._rows()
        if rows.filter(state="pending").exists():
            return False
        handled = ReceivedEvent.objects.filter(pk__startswith=f"{self.group}/").count()
        dead = sum(letter.group == self.group for letter in read_letters([self.bench.topic]))
        return handled + dead >= rows.filter(state="published").count()

    def _rows(self):
        return OutboxEvent.objects.filter(topic=self.bench.topic)

    def _counters(self, kind):
        return OutboxEvent.objects.filter(aggregate_type=kind, topic="none")


def read_log(path):
    """Return the attempts of a writer: only the last one of a transaction may have succeeded."""
    attempts, outcomes = {}, {}
    for line in path.read_bytes().splitlines():
        facts = json.loads(line)
        if "outcome" in facts:
            outcomes[facts["transaction"]] = Outcome(facts["outcome"])
        else:
            events = tuple(Event(**event) for event in facts["events"])
            attempts.setdefault(facts["transaction"], []).append(events)
    for name, tries in attempts.items():
        for events in tries[:-1]:
            yield Transaction(outcome=Outcome.ABORTED, events=events)
        yield Transaction(outcome=outcomes.get(name, Outcome.UNKNOWN), events=tries[-1])


def _command(module, *arguments):
    return [sys.executable, "-m", module, *arguments]


def make_counter(kind, key):
    OutboxEvent.objects.create(
        id=counter_id(kind, key),
        topic="none",
        key=key,
        aggregate_type=kind,
        aggregate_id=key,
        version=0,
        type="none",
        record="none",
        payload=b"{}",
        occurred_at=timezone.now(),
        due_at=timezone.now(),
        state=OutboxEvent.State.PUBLISHED,  # so that no relay minds it
    )
