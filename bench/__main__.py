"""Measure the outbox against its references, and write what came of it.

Every measured run is proved to have lost, doubled and reordered nothing. The references run in
between, on the same servers, so compare the ratios: figures of another machine are others.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from bench import consume, cost, growth, idle, latency, raw, relay, report, scale, servers
from bench.results import RESULTS, Result, show
from bench.session import Session, Sizes

BENCHMARKS: dict[str, Callable[[Session, str], Result]] = {
    "relay": relay.run,
    "latency": latency.run,
    "idle": idle.run,
    "cost": cost.run,
    "raw": raw.run,
    "consume": consume.run,
    "scale": scale.run,
    "growth": growth.run,
}
BUYERS_OF_RUSH = 200
QUICK = Sizes(events=20_000, keys=500, repeat=1, seconds=5, published=(1_000, 20_000))
EXAMPLES = """\
examples:
  make bench                                     all of it, on servers of its own
  python -m bench relay --repeat 5               one benchmark
  python -m bench all --quick                    small, to see that it runs; writes nothing
  python -m bench report                         tables and pictures out of the raw numbers
  make run EXPIRATION_WINDOW_SECONDS=5           in one terminal, and in another:
  python -m bench expiry                         how late a reservation ends
  python -m bench rush                           200 buyers, 100 tickets: nothing sold twice
  make run EXPIRATION_WINDOW_SECONDS=900         in one terminal, and in another:
  python -m bench sale                           a sale's load, and two Django views' beside it
  python -m bench history --orders 100000        the same with so many orders in the databases
  python -m bench sale --clients 100 --tickets 50 --buyers 500 --repeat 1 --out /tmp/sale
"""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what", choices=[*BENCHMARKS, "all", "report", "expiry", "rush", "sale", "history"]
    )
    parser.add_argument("--events", type=int, help="in a drain (default: 200000)")
    parser.add_argument("--keys", type=int, help="that they are spread over (default: 5000)")
    parser.add_argument("--repeat", type=int, help="times (default: 3)")
    parser.add_argument("--seconds", type=int, help="of latency and idling (default: 60)")
    parser.add_argument("--published", type=int, nargs="+", help="rows there before, for growth")
    parser.add_argument("--quick", action="store_true", help="with small numbers")
    parser.add_argument("--running", action="store_true", help="use the stack that runs already")
    parser.add_argument("--out", type=Path, help=f"where to write (default: {RESULTS.name}/)")
    parser.add_argument("--buyers", type=int, help="of rush (default: 200), of sale (5000)")
    parser.add_argument("--attempts", type=int, default=10_000, help="of rush, by all of them")
    parser.add_argument("--seed", type=int, default=1, help="of rush, sale and history")
    parser.add_argument("--clients", type=int, help="of sale, for one ticket (default: 1000)")
    parser.add_argument("--tickets", type=int, help="of sale (default: 500)")
    parser.add_argument("--connections", type=int, help="of sale, to 500 tickets (default: 64)")
    parser.add_argument("--accounts", type=int, help="of sale: sessions to share (default: 200)")
    parser.add_argument(
        "--orders", type=int, help="of expiry, in each half (default: 10); past ones, of history"
    )
    return parser.parse_args(arguments)


def given(names: Iterable[str], options: argparse.Namespace) -> dict[str, Any]:
    """Return those of the options that were given."""
    return {name: value for name in names if (value := getattr(options, name, None)) is not None}


def directory_of(options: argparse.Namespace) -> Path | None:
    """Return where results are written; those of small numbers nowhere, unless it is said."""
    return options.out or (None if options.quick else RESULTS)


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    if options.what == "report":
        report.write()
        return 0
    if options.what == "expiry":
        from bench import expiry  # noqa: PLC0415 (it needs a running stack, and pages' libraries)

        return expiry.run(options.orders or expiry.ORDERS)
    if options.what == "rush":
        from bench import rush  # noqa: PLC0415 (the same)

        return rush.run(options.buyers or BUYERS_OF_RUSH, options.attempts, options.seed)
    if options.what in {"sale", "history"}:
        from bench import sale  # noqa: PLC0415 (the same)

        sizes_of_sale = sale.QUICK if options.quick else sale.Sale()
        sizes_of_sale = replace(sizes_of_sale, **given(vars(sizes_of_sale), options))
        command = f"python -m bench {' '.join(arguments)}"
        if options.what == "history":
            from bench import history  # noqa: PLC0415 (the same)

            past = options.orders or history.PAST_ORDERS
            return history.run(sizes_of_sale, past, command, directory_of(options))
        return sale.run(sizes_of_sale, command, directory_of(options))
    names = list(BENCHMARKS) if options.what == "all" else [options.what]
    directory = directory_of(options)
    sizes = QUICK if options.quick else Sizes()
    sizes = replace(sizes, **given(vars(sizes), options))
    missed = 0
    with nullcontext(servers.running()) if options.running else servers.own() as stack:
        for name in names:
            command = f"python -m bench {' '.join([name, *arguments[1:]])}"
            print(f"\n== {name}", flush=True)
            with Session(stack, sizes) as session:
                result = BENCHMARKS[name](session, command)
            print(show(result), flush=True)
            missed += sum(not goal.is_reached for goal in result.goals if not goal.is_prize)
            if directory is not None:
                print(f"  raw numbers: {result.write(directory)}")
    print(f"\n{missed} goals missed" if missed else "\nall goals reached")
    return 0


def _stop(number: int, _frame: FrameType | None) -> None:
    """End as after an error, so that nothing is left running or lying about."""
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(main(sys.argv[1:]))
