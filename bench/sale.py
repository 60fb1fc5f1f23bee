"""A sale begins: what does it cost to reserve a ticket, and how does that compare with one view?

Runs against a running stack whose reservations outlive it, from outside, by HTTP:

    make run EXPIRATION_WINDOW_SECONDS=900      # in one terminal
    python -m bench sale                        # in another

Three scenes, each played by the orders service, by the gateway, by a plain Django view that does
the same claim (bench/plain_claim.py) and by one that does nothing else at all
(bench/bare_claim.py), in turn, repetition by repetition: everybody wants one ticket at once; many
buyers try few tickets at random; and each of some tickets is asked for once.
"""

from __future__ import annotations

import asyncio
import json
import random
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.backends import Backends
from bench.claims import BARE, GATEWAY, ORDERS, PLAIN, Asked, Claim, Orders, Reference
from bench.cpu import HARNESS, OTHERS, CpuMeter
from bench.crowd import REFUSED, Attempt, Buyer, all_at_once, by_turns
from bench.results import Goal, Result, Run, Table, quantile, show
from tests.e2e.people import Person, sign_up_many
from tests.e2e.stack import Stack

HOT, RANDOM, EACH = "hot ticket", "sale", "one each"
RESERVED = "ticket_already_reserved"
SHORTEST_WINDOW_SECONDS = 600
WEB, BACKENDS, POSTGRES = "web", "postgres for it", "postgres"


@dataclass(frozen=True, kw_only=True)
class Sale:
    """How much is measured.

    Args:
        clients: who want the hot ticket.
        tickets: of the sale; twice as many are asked for once each.
        buyers: of the sale.
        tries: how many tickets a buyer of the sale asks for at most.
        connections: of the sale; the hot ticket's clients have one each.
        accounts: whose sessions the clients and buyers share.
        repeat: how often each scene is played.
        seed: of what is left to chance.
    """

    clients: int = 1_000
    tickets: int = 500
    buyers: int = 5_000
    tries: int = 3
    connections: int = 64
    accounts: int = 200
    repeat: int = 3
    seed: int = 1


QUICK = Sale(clients=50, tickets=20, buyers=100, connections=16, accounts=5, repeat=1)


@dataclass(frozen=True)
class Account:
    id: str
    token: str


Plot = Callable[[Asked, Sequence[str]], Coroutine[Any, Any, list[Attempt]]]
"""Lets the buyers of a scene have their turn at these tickets."""


@dataclass(frozen=True)
class Scene:
    """What is played.

    Args:
        tickets: how many there are.
        sold: how many must be sold.
        play: asks for them.
    """

    name: str
    tickets: int
    sold: int
    play: Plot


def run(sale: Sale, command: str, directory: Path | None) -> int:
    """Measure on the running stack, print it, and return the exit status."""
    stack = Stack.from_environment()
    people = sign_up_many(stack.base_url, sale.accounts + 1)
    seller, *crowd = people
    accounts = [account_of(person) for person in crowd]
    ends_at = end_of_first(seller, crowd[0])
    with ExitStack() as ending:
        for person in people:
            ending.callback(person.http.close)
        references = [
            ending.enter_context(closing(Reference(stack.config, name))) for name in (BARE, PLAIN)
        ]
        asked = (*references, Orders(stack, seller), Orders(stack, seller, by_gateway=True))
        result, violations = measure(sale, command, asked, accounts, str(stack.config.directory))
    if datetime.now(UTC) > ends_at:
        result.notes.append("It took so long that reservations ended in the midst of it.")
    return tell(result, violations, directory)


def tell(result: Result, violations: Sequence[str], directory: Path | None) -> int:
    """Print what was measured, keep it if there is a directory, and return the exit status."""
    print(show(result))
    for each in violations[:20]:
        print(f"  VIOLATION {each}")
    if directory is not None:
        print(f"  raw numbers: {result.write(directory)}")
    return int(bool(violations))


def measure(
    sale: Sale, command: str, asked: Sequence[Asked], accounts: Sequence[Account], mark: str
) -> tuple[Result, list[str]]:
    """Play every scene with everybody, and return what was measured and what must not be."""
    result = Result(
        name="sale",
        title="A sale, and two views beside it",
        command=command,
        parameters=vars(sale),
        notes=[f"Connections: {sale.clients:,} for the hot ticket, {sale.connections} otherwise."],
    )
    meter = CpuMeter(mark)
    violations: list[str] = []
    for each in asked:  # a process that has answered nothing yet is slow
        play(warming_up(sale, accounts), each, meter)
    for number in range(sale.repeat):
        for scene in scenes(sale, accounts, number):
            for each in asked:
                measured, faults = play(scene, each, meter)
                result.runs.append(measured)
                violations += faults
                print(f"{measured.name}: {measured.rate:,.0f}/s", flush=True)
    result.tables += [hot_table(result), random_table(result), each_table(result)]
    result.goals += goals(result, violations)
    return result, violations


def account_of(person: Person) -> Account:
    """Return whose session a person's cookie is."""
    token = person.http.cookies["session"]
    _, claims, _ = token.split(".")
    return Account(json.loads(urlsafe_b64decode(claims + "=="))["sub"], token)


def warming_up(sale: Sale, accounts: Sequence[Account]) -> Scene:
    return _one_each(sale.connections, sale, accounts)


def each_once(sale: Sale, accounts: Sequence[Account]) -> Scene:
    """Return the scene in which each ticket is asked for once."""
    return _one_each(2 * sale.tickets, sale, accounts)


def scenes(sale: Sale, accounts: Sequence[Account], number: int) -> tuple[Scene, ...]:
    """Return the scenes of one repetition; everybody who is asked is asked alike."""

    def hot(asked: Asked, tickets: Sequence[str]) -> Coroutine[Any, Any, list[Attempt]]:
        return all_at_once(asked.port, buyers_of(accounts, [tickets] * sale.clients))

    def at_random(asked: Asked, tickets: Sequence[str]) -> Coroutine[Any, Any, list[Attempt]]:
        buyers = buyers_of(accounts, choices(sale, tickets, sale.seed + number))
        return by_turns(asked.port, buyers, sale.connections)

    return (
        Scene(HOT, 1, 1, hot),
        Scene(RANDOM, sale.tickets, 0, at_random),
        each_once(sale, accounts),
    )


def _one_each(count: int, sale: Sale, accounts: Sequence[Account]) -> Scene:
    def in_turn(asked: Asked, tickets: Sequence[str]) -> Coroutine[Any, Any, list[Attempt]]:
        buyers = buyers_of(accounts, [[ticket] for ticket in tickets])
        return by_turns(asked.port, buyers, sale.connections)

    return Scene(EACH, count, count, in_turn)


def buyers_of(accounts: Sequence[Account], wanted: Sequence[Sequence[str]]) -> list[Buyer]:
    """Return a buyer for each list of tickets; the accounts take turns."""
    return [
        Buyer(account.id, account.token, tickets)
        for number, tickets in enumerate(wanted)
        for account in (accounts[number % len(accounts)],)
    ]


def choices(sale: Sale, tickets: Sequence[str], seed: int) -> list[list[str]]:
    """Return which tickets each buyer of a sale tries, in turn; no one tries the same one twice."""
    chance = random.Random(seed)  # noqa: S311 (to be the same again)
    tries = min(sale.tries, len(tickets))
    return [chance.sample(tickets, tries) for _ in range(sale.buyers)]


def play(scene: Scene, asked: Asked, meter: CpuMeter) -> tuple[Run, list[str]]:
    """Play a scene, prove it, and return its figures and what must not be."""
    tickets = asked.offer(scene.tickets)
    attempts, used = asyncio.run(_watched(scene, asked, tickets, meter))
    sold = sum(attempt.is_reserved for attempt in attempts)
    faults = violations_of(attempts, asked.claims(tickets))
    if scene.sold and sold != scene.sold:
        faults.append(f"{sold:,} of {scene.sold:,} were reserved")
    asked.rest(tickets)
    name = f"{asked.name}, {scene.name}"
    return run_of(name, attempts, used), [f"{name}: {fault}" for fault in faults]


async def _watched(
    scene: Scene, asked: Asked, tickets: Sequence[str], meter: CpuMeter
) -> tuple[list[Attempt], dict[str, float]]:
    """Return the answers, and the seconds of processor that each process used meanwhile."""
    processes = [(WEB, asked.web), *asked.between]
    with closing(Backends(asked.url, asked.web)) as backends:
        before, backends_before = meter.read(processes), backends.read()
        watching = asyncio.create_task(backends.watch())
        attempts = await scene.play(asked, tickets)
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        after, for_it = meter.read(processes), backends.read() - backends_before
    used = after.since(before)
    used[POSTGRES] = max(0.0, used[POSTGRES] - for_it)
    return attempts, used | {BACKENDS: for_it}


def violations_of(attempts: Sequence[Attempt], claims: Sequence[Claim]) -> list[str]:
    """Return what must not be: answers nobody expects, and sales that were not told or doubled."""
    violations = [
        f"answered {attempt.status} {attempt.body[:200]!r}"
        for attempt in attempts
        if not attempt.is_reserved and not is_refusal(attempt)
    ]
    told = [
        (json.loads(attempt.body)["id"], attempt.ticket, attempt.buyer.account)
        for attempt in attempts
        if attempt.is_reserved
    ]
    for side, sales in (("told", told), ("kept", claims)):
        for what, place in (("order", 0), ("ticket", 1)):
            counts = Counter(sale[place] for sale in sales)
            violations += [
                f"{what} {each} is {side} {count} times"
                for each, count in counts.items()
                if count > 1
            ]
    violations += [f"{each} was told and not kept" for each in sorted({*told} - {*claims})]
    violations += [f"{each} was kept and not told" for each in sorted({*claims} - {*told})]
    return violations


def is_refusal(attempt: Attempt) -> bool:
    if attempt.status != REFUSED:
        return False
    with suppress(ValueError, KeyError, IndexError, TypeError):
        return bool(json.loads(attempt.body)["errors"][0]["code"] == RESERVED)
    return False


def place_of_winner(attempts: Sequence[Attempt]) -> int:
    """Return which of the requests, in the order of sending, got the ticket; 0 if none did."""
    ordered = sorted(attempts, key=lambda attempt: attempt.sent)
    return next((place for place, each in enumerate(ordered, 1) if each.is_reserved), 0)


def run_of(name: str, attempts: Sequence[Attempt], used: dict[str, float]) -> Run:
    """Return the figures of one scene; processor time is that of an answer."""
    used = dict(used)
    others, harness = used.pop(OTHERS), used.pop(HARNESS)
    began = min(attempt.sent for attempt in attempts)
    seconds = max(attempt.came for attempt in attempts) - began
    sold = [attempt for attempt in attempts if attempt.is_reserved]
    selling = max((attempt.came for attempt in sold), default=began) - began
    times = [1000 * attempt.seconds for attempt in attempts]
    values = {
        "seconds": round(seconds, 3),
        "reserved": len(sold),
        "reserved_per_second": round(len(sold) / selling, 1) if selling else 0.0,
        "errors": sum(not each.is_reserved and not is_refusal(each) for each in attempts),
        "place": place_of_winner(attempts),
        "harness_us": round(1e6 * harness / len(attempts), 1),
        **{f"p{share}_ms": round(quantile(times, share / 100), 1) for share in (50, 95, 99)},
    }
    return Run(
        name=name,
        events=len(attempts),
        rate=round(len(attempts) / seconds, 1),
        cpu_us={who: round(1e6 * spent / len(attempts), 1) for who, spent in used.items()},
        others=round(others / seconds, 3),
        values=values,
    )


def hot_table(result: Result) -> Table:
    headings = ("hot ticket", "answers/s", "ratio", *TIMES, "errors", "winner's place")
    rows = []
    for who in (BARE, PLAIN, ORDERS, GATEWAY):
        best = result.best(f"{who}, {HOT}")
        runs = result.of(best.name)
        places = " ".join(str(each.values["place"]) for each in runs)
        rows.append((who, *_rate(result, who, HOT), *_times(best), _errors(runs), places))
    return headings, rows


def random_table(result: Result) -> Table:
    headings = ("sale", "answers/s", "ratio", "reserved/s", *TIMES, "errors", "sold")
    rows = []
    for who in (BARE, PLAIN, ORDERS, GATEWAY):
        best = result.best(f"{who}, {RANDOM}")
        runs = result.of(best.name)
        sold = " ".join(str(each.values["reserved"]) for each in runs)
        reserved = f"{best.values['reserved_per_second']:,.0f}"
        rows.append(
            (who, *_rate(result, who, RANDOM), reserved, *_times(best), _errors(runs), sold)
        )
    return headings, rows


def each_table(result: Result) -> Table:
    headings = (
        *("one each", "reserved/s", "ratio", *TIMES, "errors"),
        *("CPU µs of web", "of postgres for it", "of others meanwhile"),
    )
    rows = []
    for who in (BARE, PLAIN, ORDERS, GATEWAY):
        best = result.best(f"{who}, {EACH}")
        rest = ", ".join(
            f"{name} {micros:.0f}"
            for name, micros in best.cpu_us.items()
            if name not in {WEB, BACKENDS} and micros >= 1
        )
        costs = (f"{best.cpu_us[WEB]:.0f}", f"{best.cpu_us[BACKENDS]:.0f}", rest)
        errors = _errors(result.of(best.name))
        rows.append((who, *_rate(result, who, EACH), *_times(best), errors, *costs))
    return headings, rows


TIMES = ("p50 ms", "p95 ms", "p99 ms")


def _rate(result: Result, who: str, scene: str) -> tuple[str, str]:
    name = f"{who}, {scene}"
    every = " ".join(f"{each.rate:,.0f}" for each in result.of(name))
    ratio = "" if who == PLAIN else f"{result.ratio(name, f'{PLAIN}, {scene}'):.2f}"
    return every, ratio


def _times(run: Run) -> tuple[str, ...]:
    return tuple(f"{run.values[f'p{share}_ms']:,.1f}" for share in (50, 95, 99))


def _errors(runs: Sequence[Run]) -> str:
    return str(sum(run.values["errors"] for run in runs))


def goals(result: Result, violations: Sequence[str]) -> list[Goal]:
    """Judge the quietest repetitions of tickets that are asked for once each."""
    what = "reserving: processor time of web process and PostgreSQL by that of the"
    return [
        Goal(what="violations", wanted=0, found=len(violations), is_most=True),
        *(
            Goal(
                what=f"{what} {reference}",
                wanted=2,
                found=cost(result, f"{ORDERS}, {EACH}") / cost(result, f"{reference}, {EACH}"),
                is_most=True,
                is_prize=reference == BARE,
            )
            for reference in (PLAIN, BARE)
        ),
    ]


def cost(result: Result, name: str) -> float:
    """Return the microseconds of the web process and of PostgreSQL for it, of a reservation."""
    used = result.best(name).cpu_us
    return used[WEB] + used[BACKENDS]


def end_of_first(seller: Person, buyer: Person) -> datetime:
    """Reserve a first ticket, and return when that reservation ends."""
    order = buyer.reserve(seller.list_ticket()["id"])
    ends_at = datetime.fromisoformat(order["expiresAt"])
    window = ends_at - datetime.now(UTC)
    assert window.total_seconds() > SHORTEST_WINDOW_SECONDS, (  # noqa: S101
        "Reservations would end in the midst of the sale: start the stack with "
        "EXPIRATION_WINDOW_SECONDS=900."
    )
    return ends_at
