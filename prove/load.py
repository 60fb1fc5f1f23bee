"""Sellers and buyers, each a thread of its own, who note what they were told.

What a person does next comes from the seed and the person's number, so that a run can be repeated
in its choices; not in its times, which are the machine's.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import httpx

PASSWORD = "correct horse battery"  # noqa: S105 (of accounts that are thrown away)
GOOD_CARD, DECLINED_CARD = "tok_visa", "tok_chargeDeclined"
TIMEOUT_SECONDS = 15.0
SELLER_PAUSE_SECONDS = 0.9
HOT_EVERY = 6
"""Of so many tickets one is hot: all buyers hear of it at once."""
LONGEST_MARKET = 60
RESERVE_TRIES, PAY_TRIES = 20, 30
NO_ANSWER = 0

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Told:
    """One answer to one client.

    Args:
        at: seconds since 1970, when it came.
        took: seconds.
        who: the user's id; empty for somebody unknown.
        what: signup, list, reserve, pay, cancel or page.
        status: of HTTP; 0 when there was none.
        subject: the id of the ticket or order that it is about.
        body: of the answer, where it is JSON.
    """

    at: float
    took: float
    who: str
    what: str
    status: int
    subject: str = ""
    body: dict[str, Any] = field(default_factory=dict)


class Market:
    """Tickets on offer, and all that was told."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.told: list[Told] = []
        self.stopping = threading.Event()
        self._offers: deque[str] = deque(maxlen=LONGEST_MARKET)
        self._hot = ""
        self._lock = threading.Lock()

    def offer(self, ticket_id: str, *, hot: bool) -> None:
        with self._lock:
            if hot:
                self._hot = ticket_id
            else:
                self._offers.append(ticket_id)

    def hot(self) -> str:
        """Return the ticket that everybody wants at present; empty if there is none yet."""
        return self._hot

    def take_offer(self) -> str:
        """Return a ticket that nobody else was sent to yet; empty if there is none."""
        with self._lock:
            return self._offers.popleft() if self._offers else ""


class Client:
    """One person with a browser or a program.

    Args:
        market: where the person finds tickets and notes answers.
        number: of the person; the seed of all choices, with the market's.
        base_url: of the system.
    """

    def __init__(self, market: Market, number: int, base_url: str) -> None:
        self.market = market
        self.chance = random.Random(f"{market.seed}/{number}")  # noqa: S311 (to be repeatable)
        self.http = httpx.Client(base_url=base_url, timeout=TIMEOUT_SECONDS)
        self.number = number
        self.id = ""

    @property
    def stopping(self) -> threading.Event:
        return self.market.stopping

    def ask(
        self, what: str, method: str, path: str, *, subject: str = "", json: Row | None = None
    ) -> Told:
        """Send a request and note the answer, or that none came."""
        began = time.time()
        try:
            answer = self.http.request(method, path, json=json)
            status = answer.status_code
            is_json = "json" in answer.headers.get("content-type", "")
            body = answer.json() if is_json and answer.content else {}
        except (httpx.HTTPError, ValueError):
            status, body = NO_ANSWER, {}
        told = Told(
            at=time.time(),
            took=time.time() - began,
            who=self.id,
            what=what,
            status=status,
            subject=subject or (body.get("id", "") if isinstance(body, dict) else ""),
            body=body if isinstance(body, dict) else {},
        )
        self.market.told.append(told)
        return told

    def sign_up(self) -> bool:
        """Get an account, however often that has to be tried; False when all is over."""
        while not self.stopping.is_set():
            email = f"p{self.number}-{self.chance.getrandbits(48):x}@example.com"
            told = self.ask(
                "signup", "POST", "/api/users/signup", json={"email": email, "password": PASSWORD}
            )
            if told.status == HTTPStatus.CREATED:
                self.id = told.body["id"]
                return True
            self.stopping.wait(1)
        return False

    def run(self) -> None:
        with self.http:
            if self.sign_up():
                while not self.stopping.is_set():
                    self.live()

    def live(self) -> None:
        raise NotImplementedError


class Seller(Client):
    """Lists one ticket after the other."""

    listed = 0

    def live(self) -> None:
        price = self.chance.randint(100, 20_000) / 100
        told = self.ask(
            "list", "POST", "/api/tickets", json={"title": f"Seat {self.listed}", "price": price}
        )
        if told.status == HTTPStatus.CREATED:
            self.listed += 1
            self.market.offer(told.subject, hot=self.listed % HOT_EVERY == 0)
        # The pace at which tickets come, and with them all else, is not that of the answers.
        pause = SELLER_PAUSE_SECONDS * self.chance.uniform(0.5, 1.5)
        self.stopping.wait(max(0.0, pause - told.took))


# How buyers behave, and how many of them do.
WAYS = {
    "pays": 40,
    "pays twice": 10,
    "is declined, then pays": 10,
    "is declined": 8,
    "cancels": 12,
    "pays and cancels": 6,
    "walks away": 8,
    "pays late": 6,
}


class Buyer(Client):
    """Reserves tickets and does with them what the dice say."""

    wanted = ""

    def live(self) -> None:
        hot = self.market.hot()
        if hot and hot != self.wanted:
            self.wanted = ticket_id = hot
        else:
            ticket_id = self.market.take_offer()
        self.look_around()
        if ticket_id:
            order = self.reserve(ticket_id)
            if order:
                way = self.chance.choices(list(WAYS), list(WAYS.values()))[0]
                self.go(way, order)
        self.stopping.wait(self.chance.uniform(0.05, 0.4))

    def look_around(self) -> None:
        if self.chance.choice((True, False)):
            self.ask("page", "GET", self.chance.choice(("/", "/orders/", "/api/tickets?limit=20")))

    def reserve(self, ticket_id: str) -> dict[str, Any]:
        """Reserve a ticket, again while orders has not heard of it; {} if that came to nothing."""
        for _ in range(RESERVE_TRIES):
            told = self.ask(
                "reserve",
                "POST",
                "/api/orders",
                json={"ticketId": ticket_id},
                subject="",
            )
            if told.status == HTTPStatus.CREATED:
                return told.body
            if told.status != HTTPStatus.NOT_FOUND or self.stopping.wait(0.5):
                break
        return {}

    def pay(self, order_id: str, card: str) -> Told:
        """Pay, again while payments has not heard of the order or gives no clear answer."""
        told: Told
        for _ in range(PAY_TRIES):
            told = self.ask(
                "pay",
                "POST",
                "/api/payments",
                json={"token": card, "orderId": order_id},
                subject=order_id,
            )
            clear = told.status not in {NO_ANSWER, HTTPStatus.NOT_FOUND} and told.status < 500  # noqa: PLR2004
            if clear or self.stopping.wait(0.7):
                break
        return told

    def cancel(self, order_id: str) -> None:
        self.ask("cancel", "DELETE", f"/api/orders/{order_id}", subject=order_id)

    def go(self, way: str, order: dict[str, Any]) -> None:
        order_id = order["id"]
        if way == "walks away":
            return
        if way == "pays late":
            left = datetime.fromisoformat(order["expiresAt"]) - datetime.now(UTC)
            self.stopping.wait(max(0.0, left.total_seconds() + self.chance.uniform(-1.0, 1.0)))
        if "declined" in way:
            self.pay(order_id, DECLINED_CARD)
        if way in {"pays", "pays twice", "is declined, then pays", "pays and cancels", "pays late"}:
            self.pay(order_id, GOOD_CARD)
        if way == "pays twice":
            self.pay(order_id, GOOD_CARD)
        if "cancels" in way:
            self.cancel(order_id)


@contextmanager
def running(base_url: str, seed: int, *, sellers: int, buyers: int) -> Iterator[Market]:
    """Keep people busy; whoever is in the middle of something when it ends, ends it."""
    market = Market(seed)
    people: list[Client] = [Seller(market, number, base_url) for number in range(sellers)]
    people += [Buyer(market, sellers + number, base_url) for number in range(buyers)]
    threads = [threading.Thread(target=person.run, daemon=True) for person in people]
    for thread in threads:
        thread.start()
    try:
        yield market
    finally:
        market.stopping.set()
        for thread in threads:
            thread.join(timeout=2 * TIMEOUT_SECONDS)
