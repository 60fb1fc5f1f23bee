"""One run: start, load, break, let it rest, judge."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from prove import faults, load, world
from prove.breaker import Breaker
from prove.faults import Done, Fault
from prove.load import Told
from prove.verdict import Judge, Verdict
from prove.watching import Watch, watching

SELLERS, BUYERS = 2, 10
CALM_SECONDS = 10.0
LONG = 600.0
# After each fault: long enough for most to have recovered, not for all, as in life.
PAUSE_SECONDS = (1.0, 3.0)
# A relay's or worker's batch: what one that is killed may have sent without having noted it.
IN_FLIGHT = 1_000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run is to do.

    Args:
        seed: of all choices.
        seconds: how long mixed faults go on behind those that come alone.
        kinds: of faults; all if there are none.
        beside: what git calls the version to run beside the present one; chosen if it is empty.
        soak: seconds of load without any fault; 0 for a run with faults.
    """

    seed: int
    seconds: float = 60.0
    kinds: Collection[str] = ()
    beside: str = ""
    soak: float = 0.0

    @property
    def last(self) -> str:
        """What ends before everything comes to rest."""
        return "load" if self.soak else "last fault"

    @property
    def whole(self) -> bool:
        """Whether each target has each fault alone; in a short run a choice has."""
        return self.seconds > LONG


@dataclass(kw_only=True)
class Outcome:
    """What a run did and found.

    Args:
        plan: what it was to do.
        began, ended: of load and faults, in seconds since 1970.
        verdict: on everything, since the last fault.
        restarts: how often the supervisor started each process again.
        watch: what was seen of each process meanwhile.
        comers: how often a member was let into a consumer group by a storm.
        earlier: the version that ran beside the present one; empty if there was none.
    """

    plan: Plan
    began: float
    ended: float = 0.0
    told: list[Told] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    restarts: dict[str, int] = field(default_factory=dict)
    watch: Watch = field(default_factory=Watch)
    comers: int = 0
    earlier: str = ""


def run(plan: Plan, report: Path, say: Callable[[str], None]) -> Outcome:
    """Run everything, and return what came of it.

    Args:
        plan: what is to be done.
        report: where logs go.
        say: told of each step.
    """
    chance = random.Random(plan.seed)  # noqa: S311 (to be repeatable)
    say("starting a stack of its own")
    with (
        world.running(report, plan.beside) as system,
        watching(system, faults.PROCESSES) as watch,
    ):
        earlier = system.earlier.commit if system.earlier else ""
        outcome = Outcome(plan=plan, began=time.time(), watch=watch, earlier=earlier)
        breaker = Breaker(system, chance)
        with load.running(
            system.config.public_url, plan.seed, sellers=SELLERS, buyers=BUYERS
        ) as market:
            outcome.told = market.told
            if plan.soak:
                say(f"load without a fault for {plan.soak / 60:.0f} minutes")
                time.sleep(plan.soak)
            else:
                time.sleep(CALM_SECONDS)
                break_things(breaker, plan, say)
            mended = time.time()
        outcome.ended = time.time()
        outcome.done, outcome.comers = breaker.done, breaker.comers
        say("everything is mended and the load has ended: waiting until every rule holds")
        judge = Judge(
            config=system.direct,
            environment_of=system.environment_of,
            told=outcome.told,
            planted=breaker.planted,
            in_flight=IN_FLIGHT * sum(len(done.fault.targets) for done in breaker.done),
            delays=max((done.fault.delays for done in breaker.done), default=0.0),
        )
        outcome.verdict = judge.wait(since=mended)
        outcome.verdict.violations += watch.judge(breaker.done)
        infos = json.loads((system.config.run / "restarts.json").read_text(encoding="utf-8"))
        outcome.restarts = infos
        shutil.copytree(system.config.logs, report / "logs", dirs_exist_ok=True)
    return outcome


def break_things(breaker: Breaker, plan: Plan, say: Callable[[str], None]) -> None:
    """Do each kind of fault alone, then all kinds mixed."""
    chance = breaker.chance

    def is_wanted(fault: Fault) -> bool:
        possible = fault.kind != "version" or breaker.world.earlier is not None
        return possible and (not plan.kinds or fault.kind in plan.kinds)

    for fault in filter(is_wanted, faults.alone(chance, whole=plan.whole)):
        say(str(fault))
        breaker.do(fault, time.sleep)
        time.sleep(chance.uniform(*PAUSE_SECONDS))
    until = time.monotonic() + plan.seconds
    for fault in filter(is_wanted, faults.mixed(chance)):
        if time.monotonic() > until:
            return
        say(f"mixed: {fault}")
        breaker.do(fault, time.sleep, mixed=True)
        time.sleep(chance.uniform(0, PAUSE_SECONDS[0]))
