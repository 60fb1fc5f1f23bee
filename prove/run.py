"""One run: start, load, break, let it rest, judge."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
from pymongo.errors import PyMongoError

from deploy.local.config import ROOT, SERVICES
from prove import facts, faults, load, rules, world
from prove.faults import Breaker, Done
from prove.load import Told
from prove.rules import Violation
from prove.world import World
from ticketing.topics import CONSUMERS

SELLERS, BUYERS = 2, 10
CALM_SECONDS = 10.0
# After each fault: long enough for most to have recovered, not for all, as in life.
PAUSE_SECONDS = (1.0, 3.0)
# Back to normal: a reservation's window, a webhook's longest delay of the provider (60 s) and
# the second retry tier (60 s).
REST_SECONDS = 180.0
SECONDS_BETWEEN_LOOKS = 2.0
# A relay's or worker's batch: what one that is killed may have sent without having noted it.
IN_FLIGHT = 500
RAW = "ticketing.orders.raw"
AWAY = (psycopg.Error, PyMongoError, httpx.HTTPError)


@dataclass(kw_only=True)
class Outcome:
    """What a run did and found.

    Args:
        began, ended: of load and faults, in seconds since 1970.
        rest: seconds from the last fault until every rule held; None if that never was.
        counts: events, records, records sent again and effects, of all services.
        restarts: how often the supervisor started each process again.
    """

    seed: int
    began: float
    ended: float = 0.0
    told: list[Told] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)
    rest: float | None = None
    violations: list[Violation] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    restarts: dict[str, int] = field(default_factory=dict)


def run(
    seed: int,
    seconds: float,
    report: Path,
    say: Callable[[str], None],
    *,
    kinds: Collection[str] = (),
) -> Outcome:
    """Run everything, and return what came of it.

    Args:
        seed: of all choices.
        seconds: how long mixed faults go on behind those that come alone; an hour has each
            target alone, a short run a choice.
        report: where logs go if a rule was broken.
        say: told of each step.
        kinds: of faults; all if there are none.
    """
    chance = random.Random(seed)  # noqa: S311 (to be repeatable)
    whole = seconds > 600  # noqa: PLR2004
    say("starting a stack of its own")
    with world.running(report) as system:
        outcome = Outcome(seed=seed, began=time.time())
        breaker = Breaker(system, chance)
        with load.running(system.config.public_url, seed, sellers=SELLERS, buyers=BUYERS) as market:
            outcome.told = market.told
            time.sleep(CALM_SECONDS)
            break_things(breaker, seconds, say, kinds=kinds, whole=whole)
            mended = time.time()
        outcome.ended = time.time()
        outcome.done = breaker.done
        say("everything is mended and the load has ended: waiting until every rule holds")
        wait_for_rest(system, outcome, breaker, mended)
        infos = json.loads((system.config.run / "restarts.json").read_text(encoding="utf-8"))
        outcome.restarts = infos
        if outcome.violations:
            shutil.copytree(system.config.logs, report / "logs", dirs_exist_ok=True)
    return outcome


def break_things(
    breaker: Breaker,
    seconds: float,
    say: Callable[[str], None],
    *,
    kinds: Collection[str],
    whole: bool,
) -> None:
    """Do each kind of fault alone, then all kinds mixed."""
    chance = breaker.chance
    for fault in faults.alone(chance, whole=whole):
        if kinds and fault.kind not in kinds:
            continue
        say(str(fault))
        breaker.do(fault, time.sleep)
        time.sleep(chance.uniform(*PAUSE_SECONDS))
    until = time.monotonic() + seconds
    for fault in faults.mixed(chance):
        if time.monotonic() > until:
            return
        if kinds and fault.kind not in kinds:
            continue
        say(f"mixed: {fault}")
        breaker.do(fault, time.sleep, mixed=True)
        time.sleep(chance.uniform(0, PAUSE_SECONDS[0]))


def wait_for_rest(system: World, outcome: Outcome, breaker: Breaker, mended: float) -> None:
    """Judge again and again until nothing is wrong, or for REST_SECONDS."""
    while True:
        try:
            known = facts.Facts(told=outcome.told, planted=breaker.planted, readers=readers())
            outcome.violations = rules.check(facts.read(system.direct, known))
            if not outcome.violations:
                outcome.violations, outcome.counts = judge_events(system, breaker)
        except AWAY as exc:
            away = Violation(rule="rest", subject="a server is away", evidence=str(exc))
            outcome.violations = [away]
        passed = time.time() - mended
        if not outcome.violations:
            outcome.rest = passed
            return
        if passed > REST_SECONDS:
            return
        time.sleep(SECONDS_BETWEEN_LOOKS)


def readers() -> dict[str, tuple[str, ...]]:
    """Return which groups read each topic; the raw worker has no name among dead letters."""
    found: dict[str, tuple[str, ...]] = {RAW: ("",)}
    for group, topics in CONSUMERS.items():
        for topic in topics:
            found[topic] = (*found.get(topic, ()), group)
    return found


def judge_events(system: World, breaker: Breaker) -> tuple[list[Violation], Counter[str]]:
    """Let each service's store and topics be judged, two at a time."""
    asked = json.dumps(
        {
            "planted": [event_id for _, event_id in breaker.planted],
            "in_flight": IN_FLIGHT * sum(len(done.fault.targets) for done in breaker.done),
        }
    )

    def judge(service: str) -> tuple[list[Violation], Counter[str]]:
        done = subprocess.run(
            (sys.executable, "-m", "prove.events"),
            cwd=ROOT,
            env=system.environment_of(service),
            input=asked,
            text=True,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            line = (done.stderr.strip() or "no word").splitlines()[-1]
            return [Violation(rule="events", subject=service, evidence=line)], Counter()
        answer = json.loads(done.stdout)
        return [Violation(**each) for each in answer["violations"]], Counter(answer["counts"])

    violations: list[Violation] = []
    counts: Counter[str] = Counter()
    with ThreadPoolExecutor(2) as pool:
        for found, counted in pool.map(judge, SERVICES):
            violations += found
            counts += counted
    return violations, counts
