"""Break the running system in every way, and check every promise.

Starts a stack of its own, puts sellers and buyers on it, breaks things by a schedule that the seed
gives, and compares at the end what each client was told with every database, every topic and the
payment provider.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from deploy.local.__main__ import guarded_call
from prove import report
from prove.run import Plan, run

SHORT_SECONDS = 60.0
LONG_SECONDS = 1800.0
EXAMPLES = """\
examples:
  python -m prove                      some ten minutes: each kind of fault alone, then mixed
  python -m prove --seed 7             the same choices as another run with that seed
  python -m prove --long               an hour: each fault on each target, then mixed
  python -m prove --mixed-minutes 20   something between
  python -m prove --soak 30            half an hour without a fault: memory and latency
  python -m prove --kinds cut stall    these kinds alone, to look closer

Exit status 1 says that a rule was broken; the logs lie beside the report then.
"""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m prove",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, help="of all choices; a new one if none is given")
    parser.add_argument("--long", action="store_true", help="about an hour")
    parser.add_argument("--mixed-minutes", type=float, help="how long the mixed faults go on")
    parser.add_argument(
        "--kinds", nargs="+", choices=report.MEANINGS, metavar="KIND", help="these faults alone"
    )
    parser.add_argument(
        "--beside",
        default="",
        metavar="REF",
        help="the earlier version of the fault `version`; by default the one before the last new "
        "migration or changed schema",
    )
    parser.add_argument(
        "--soak",
        type=float,
        default=0.0,
        metavar="MINUTES",
        help="the load without any fault, to see whether memory and latency stay as they are",
    )
    parser.add_argument("--report", type=Path, default=Path(".local/prove"), metavar="DIRECTORY")
    return parser.parse_args(arguments)


def prove(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as after Ctrl-C
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(100_000)
    seconds = LONG_SECONDS if options.long else SHORT_SECONDS
    if options.mixed_minutes is not None:
        seconds = options.mixed_minutes * 60
    began = time.monotonic()

    def say(text: str) -> None:
        passed = time.monotonic() - began
        print(f"{passed // 60:3.0f}:{passed % 60:04.1f}  {text}", flush=True)

    say(f"seed {seed}")
    plan = Plan(
        seed=seed,
        seconds=seconds,
        kinds=options.kinds or (),
        beside=options.beside,
        soak=options.soak * 60,
    )
    outcome = run(plan, options.report, say)
    files = report.write(outcome, options.report)
    print(f"\n{report.for_terminal(outcome)}\n")
    say(f"report: {', '.join(map(str, files))}")
    if outcome.verdict.violations:
        print(f"A rule was broken. The logs: {options.report / 'logs'}. Again: SEED={seed}")
    return 1 if outcome.verdict.violations else 0


if __name__ == "__main__":
    sys.exit(guarded_call(lambda: prove(sys.argv[1:])))
