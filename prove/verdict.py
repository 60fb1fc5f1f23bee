"""The verdict on a system at rest: looked for again and again until nothing is wrong, or too long.

What waits, a retry or a late webhook, is no fault yet; what still does at the end is one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx
import psycopg
from pymongo.errors import PyMongoError

from deploy.local.config import ROOT, SERVICES, Config
from prove import facts, rules
from prove.load import Told
from prove.rules import Violation
from ticketing.topics import CONSUMERS

# Back to normal: a reservation's window, a webhook's longest delay of the provider (60 s) and
# the second retry tier (60 s).
REST_SECONDS = 180.0
SECONDS_BETWEEN_LOOKS = 2.0
RAW = "ticketing.orders.raw"
AWAY = (psycopg.Error, PyMongoError, httpx.HTTPError)


@dataclass(kw_only=True)
class Verdict:
    """What was found.

    Args:
        rest: after how many seconds every rule held; None if that never was.
        violations: what is wrong still.
        counts: events, records, records sent again and effects, of all services.
    """

    rest: float | None = None
    violations: list[Violation] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Compares what clients were told with every database, every topic and the provider.

    Args:
        config: of the system, whose servers are reached by it without hindrance.
        environment_of: what a management command of a service runs with.
        told: every answer to every client.
        planted: topic and event id of each record that is to be a dead letter.
        in_flight: how many records may have been sent again.
        delays: seconds by which a clock that was ahead may have put something off.
    """

    config: Config
    environment_of: Callable[[str], Mapping[str, str]]
    told: list[Told]
    planted: Sequence[tuple[str, str]] = ()
    in_flight: int = 0
    delays: float = 0.0

    def wait(self, since: float) -> Verdict:
        """Judge until nothing is wrong, or too long since a time (seconds since 1970)."""
        while True:
            verdict = self.look()
            passed = time.time() - since
            if not verdict.violations:
                verdict.rest = passed
                return verdict
            if passed > REST_SECONDS + self.delays:
                return verdict
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def look(self) -> Verdict:
        """Judge what is there now; topics are read only if the databases are in order."""
        try:
            known = facts.Facts(told=self.told, planted=list(self.planted), readers=readers())
            violations = rules.check(facts.read(self.config, known))
        except AWAY as exc:
            away = Violation(rule="rest", subject="a server is away", evidence=str(exc))
            return Verdict(violations=[away])
        return Verdict(violations=violations) if violations else self.look_at_events()

    def look_at_events(self) -> Verdict:
        """Let each service's store and topics be judged, two at a time."""
        asked = {
            "planted": [event_id for _, event_id in self.planted],
            "in_flight": self.in_flight,
        }
        verdict = Verdict()
        with ThreadPoolExecutor(2) as pool:
            for found, counted in pool.map(lambda name: self._judge(name, asked), SERVICES):
                verdict.violations += found
                verdict.counts += counted
        return verdict

    def _judge(
        self, service: str, asked: Mapping[str, object]
    ) -> tuple[list[Violation], Counter[str]]:
        done = subprocess.run(
            (sys.executable, "-m", "prove.events"),
            cwd=ROOT,
            env=self.environment_of(service),
            input=json.dumps(asked),
            text=True,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            line = (done.stderr.strip() or "no word").splitlines()[-1]
            return [Violation(rule="events", subject=service, evidence=line)], Counter()
        answer = json.loads(done.stdout)
        return [Violation(**each) for each in answer["violations"]], Counter(answer["counts"])


def readers() -> dict[str, tuple[str, ...]]:
    """Return which groups read each topic; the raw worker has no name among dead letters."""
    found: dict[str, tuple[str, ...]] = {RAW: ("",)}
    for group, topics in CONSUMERS.items():
        for topic in topics:
            found[topic] = (*found.get(topic, ()), group)
    return found
