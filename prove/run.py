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
from prove.faults import Done
from prove.load import Told
from prove.verdict import Judge, Verdict

SELLERS, BUYERS = 2, 10
CALM_SECONDS = 10.0
# After each fault: long enough for most to have recovered, not for all, as in life.
PAUSE_SECONDS = (1.0, 3.0)
# A relay's or worker's batch: what one that is killed may have sent without having noted it.
IN_FLIGHT = 1_000


@dataclass(kw_only=True)
class Outcome:
    """What a run did and found.

    Args:
        began, ended: of load and faults, in seconds since 1970.
        verdict: on everything, since the last fault.
        restarts: how often the supervisor started each process again.
    """

    seed: int
    began: float
    ended: float = 0.0
    told: list[Told] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
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
        judge = Judge(
            config=system.direct,
            environment_of=system.environment_of,
            told=outcome.told,
            planted=breaker.planted,
            in_flight=IN_FLIGHT * sum(len(done.fault.targets) for done in breaker.done),
        )
        outcome.verdict = judge.wait(since=mended)
        infos = json.loads((system.config.run / "restarts.json").read_text(encoding="utf-8"))
        outcome.restarts = infos
        if outcome.verdict.violations:
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
