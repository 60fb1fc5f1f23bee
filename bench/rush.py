"""Many buyers, few tickets, and cards that fail: is anything sold twice, or anybody charged twice?

Runs against a running stack with a short window, from outside, by HTTP:

    make run EXPIRATION_WINDOW_SECONDS=20       # in one terminal
    python -m bench rush                        # in another

Each buyer tries to reserve one ticket after the other, pays with a card that succeeds, is
declined, times out or asks for 3-D Secure, or does not pay, or cancels. At the end, what each was
told is held against the orders, the provider and the reconciliation of all sides.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import stripe

from bench.results import RESULTS, Goal, Result, Run, quantile, show
from deploy.local.config import ROOT
from tests.e2e.people import Person, sign_up_many
from tests.e2e.stack import Stack, eventually

TICKETS = 100
CARDS = {
    "tok_visa": 5,
    "tok_chargeDeclined": 2,
    "tok_sandboxLosesAnswer": 1,
    "tok_sandboxLosesRequest": 1,
    "tok_authenticationRequired": 1,
    "": 1,
    "cancel": 1,
}
"""What a buyer does with a reserved ticket, and how often; "" is nothing at all."""
SECONDS_TO_END = 240.0
SECONDS_TO_HEAR = 120.0


@dataclass
class Told:
    """What the buyers were told.

    Args:
        statuses: of each kind of request, how often each status was answered.
        seconds: how long requests to reserve took.
        paid: the orders that were answered with 201.
        cancelled: the orders whose cancelling was answered with 204.
        owners: each order that was made, and by whom.
        faults: answers that nobody expects.
    """

    statuses: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    seconds: list[float] = field(default_factory=list)
    paid: set[str] = field(default_factory=set)
    cancelled: set[str] = field(default_factory=set)
    owners: dict[str, Person] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, what: str, answer: httpx.Response, expected: tuple[int, ...]) -> None:
        with self.lock:
            self.statuses[what][answer.status_code] += 1
            if answer.status_code not in expected:
                self.faults.append(f"{what}: {answer.status_code} {answer.text[:200]}")


def run(buyers: int, attempts: int, seed: int) -> int:
    """Let them rush, check everything, print it, and return the exit status."""
    stack = Stack.from_environment()
    began = datetime.now(UTC).replace(microsecond=0)
    seller, *crowd = sign_up_many(stack.base_url, buyers + 1)
    tickets = [seller.list_ticket()["id"] for _ in range(TICKETS)]
    eventually(
        lambda: (
            crowd[0].http.post("/api/orders", json={"ticketId": tickets[-1]}).status_code
            != httpx.codes.NOT_FOUND
        ),
        what="orders to hear of the tickets",
    )
    told = Told()
    print(f"{buyers} buyers, {TICKETS} tickets, {attempts:,} attempts, seed {seed}", flush=True)
    start = time.monotonic()
    each = attempts // buyers
    with ThreadPoolExecutor(buyers) as pool:
        for done in [
            pool.submit(_rush, person, tickets, each, seed + number, told)
            for number, person in enumerate(crowd)
        ]:
            done.result()
    seconds = time.monotonic() - start
    final = _wait_until_at_rest(crowd)
    violations = [*told.faults, *_check(told, final, _charges(stack, began))]
    violations += _reconcile(began)
    result = _result(told, final, violations, seconds, buyers, attempts, seed)
    print(show(result))
    for each_violation in violations[:20]:
        print(f"  VIOLATION {each_violation}")
    print(f"  raw numbers: {result.write(RESULTS)}")
    return int(bool(violations))


def _rush(person: Person, tickets: list[str], attempts: int, seed: int, told: Told) -> None:
    chance = random.Random(seed)  # noqa: S311 (to be the same again)
    for _ in range(attempts):
        ticket = chance.choice(tickets)
        began = time.monotonic()
        answer = person.http.post("/api/orders", json={"ticketId": ticket})
        told.note("reserve", answer, (201, 400))
        with told.lock:
            told.seconds.append(time.monotonic() - began)
        if answer.status_code != httpx.codes.CREATED:
            continue
        order_id = answer.json()["id"]
        with told.lock:
            told.owners[order_id] = person
        _decide(person, order_id, chance, told)


def _decide(person: Person, order_id: str, chance: random.Random, told: Told) -> None:
    for _ in range(2):  # a declined card may be followed by another
        [what] = chance.choices([*CARDS], [*CARDS.values()])
        if not what:
            return
        if what == "cancel":
            answer = person.cancel(order_id)
            told.note("cancel", answer, (204, 400))
            if answer.status_code == httpx.codes.NO_CONTENT:
                told.cancelled.add(order_id)
            return
        answer = _pay(person, order_id, what)
        told.note("pay", answer, (201, 202, 400))
        if answer.status_code == httpx.codes.CREATED:
            told.paid.add(order_id)
        if answer.status_code == httpx.codes.ACCEPTED and "redirectUrl" in answer.json():
            word = "approve" if chance.random() < 0.5 else "refuse"  # noqa: PLR2004
            httpx.post(answer.json()["redirectUrl"], data={"answer": word}, timeout=60)
        if answer.status_code != httpx.codes.BAD_REQUEST:
            return


def _pay(person: Person, order_id: str, token: str) -> httpx.Response:
    """Pay, asking once a second while payments has yet to hear of the order."""
    deadline = time.monotonic() + SECONDS_TO_HEAR
    while True:
        body = {"token": token, "orderId": order_id}
        answer = person.http.post("/api/payments", json=body)
        if answer.status_code != httpx.codes.NOT_FOUND or time.monotonic() > deadline:
            return answer
        time.sleep(1.0)


def _wait_until_at_rest(crowd: list[Person]) -> dict[str, dict[str, Any]]:
    """Return all orders, once none of them is open."""
    found: dict[str, dict[str, Any]] = {}

    def at_rest() -> bool:
        for person in crowd:
            found.update({order["id"]: order for order in person.http.get("/api/orders").json()})
        return not any(
            order["status"] in {"created", "awaiting_payment"} for order in found.values()
        )

    eventually(at_rest, within=SECONDS_TO_END, what="all orders to be complete or cancelled")
    return found


def _charges(stack: Stack, began: datetime) -> dict[str, list[Any]]:
    """Return the charges that took money, by the orders in their metadata."""
    client = stripe.StripeClient(
        stack.config.secrets["STRIPE_KEY"],
        base_addresses={"api": f"http://127.0.0.1:{stack.config.ports['provider']}"},
    ).v1
    found: dict[str, list[Any]] = defaultdict(list)
    window: Any = {"limit": 100, "created": {"gte": int(began.timestamp())}}
    for charge in client.charges.list(window).auto_paging_iter():
        if charge.paid:
            found[charge.metadata.to_dict().get("order_id", "")].append(charge)
    return found


def _check(
    told: Told, final: dict[str, dict[str, Any]], charges: dict[str, list[Any]]
) -> list[str]:
    """Return what must not be."""
    violations = [f"order {each} is gone" for each in told.owners if each not in final]
    sold = Counter(order["ticketId"] for order in final.values() if order["status"] == "complete")
    violations += [
        f"ticket {each} was sold {count} times" for each, count in sold.items() if count > 1
    ]
    for order_id, order in final.items():
        taken = charges.get(order_id, [])
        kept = [charge for charge in taken if not charge.refunded]
        if len(taken) > 1:
            violations.append(f"order {order_id} was charged {len(taken)} times")
        if len(kept) != int(order["status"] == "complete"):
            violations.append(f"order {order_id} is {order['status']}; {len(kept)} charges kept")
    violations += [
        f"order {each} was paid, said the answer, and is {final[each]['status']}"
        for each in told.paid
        if final[each]["status"] != "complete"
    ]
    violations += [
        f"order {each} was cancelled, said the answer, and is {final[each]['status']}"
        for each in told.cancelled
        if final[each]["status"] != "cancelled"
    ]
    return violations


def _reconcile(began: datetime) -> list[str]:
    """Hold all sides against each other, the ledger among them."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "deploy.local", "manage", "payments"),
            *("reconcile_payments", "--json", "--since", began.isoformat(), "--grace", "5"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        outcome = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return [f"reconcile_payments ended with {done.returncode}: {done.stderr[-300:]}"]
    return [f"reconciliation: {each}" for each in outcome["differences"]]


def _result(  # noqa: PLR0913, PLR0917
    told: Told,
    final: dict[str, dict[str, Any]],
    violations: list[str],
    seconds: float,
    buyers: int,
    attempts: int,
    seed: int,
) -> Result:
    result = Result(
        name="rush",
        title="Many buyers, few tickets, and cards that fail",
        command="python -m bench rush",
        parameters={"buyers": buyers, "tickets": TICKETS, "attempts": attempts, "seed": seed},
        notes=["On the local stack with all its processes, in 0.5 GB databases; window 20 s."],
    )
    outcome = Counter(order["status"] for order in final.values())
    values = {
        "seconds": round(seconds, 1),
        "statuses": {what: dict(counts) for what, counts in told.statuses.items()},
        "orders": dict(outcome),
        "p50_ms": round(1000 * quantile(told.seconds, 0.5), 1),
        "p99_ms": round(1000 * quantile(told.seconds, 0.99), 1),
    }
    result.runs.append(Run(name="rush", events=attempts, rate=attempts / seconds, values=values))
    reserve, pay = told.statuses["reserve"], told.statuses["pay"]
    rows = [
        ("attempts to reserve", f"{reserve.total():,} in {seconds:.0f} s"),
        ("reserved; refused", f"{reserve[201]:,}; {reserve[400]:,}"),
        ("time of an answer, p50; p99", f"{values['p50_ms']} ms; {values['p99_ms']} ms"),
        ("payments answered 201; 202; 400", f"{pay[201]:,}; {pay[202]:,}; {pay[400]:,}"),
        ("orders complete; cancelled", f"{outcome['complete']:,}; {outcome['cancelled']:,}"),
        ("violations of any rule", f"{len(violations):,}"),
    ]
    result.tables.append((("what", "figure"), rows))
    result.goals.append(Goal(what="violations", wanted=0, found=len(violations), is_most=True))
    return result
