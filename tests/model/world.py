"""One scenario: what people, clocks, networks and the provider do, in whatever order."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.model.processes import Reply, Stack, signature_of

READERS = {
    "ticketing.tickets": ("orders",),
    "ticketing.orders": ("tickets", "payments", "expiration"),
    "ticketing.payments": ("orders",),
    "ticketing.expiration": ("orders",),
}
BUYERS = ("buyer-1", "buyer-2")
PRICE_CENTS = 4200
WINDOW = timedelta(seconds=1000)
MOST_ROUNDS = 40
LOSABLE = "payment_intent."
"""Of these the settler finds out alone; of what is done by hand there, only webhooks tell."""


class Violation(AssertionError):
    """A promise was not kept."""


@dataclass
class Told:
    """What a client was told: nothing of it may turn out to be untrue."""

    reserved: dict[str, str] = field(default_factory=dict)
    """The buyer of each order."""
    tickets: dict[str, str] = field(default_factory=dict)
    """The ticket of each order."""
    cancelled: set[str] = field(default_factory=set)
    paid: dict[str, str] = field(default_factory=dict)
    """The order of each attempt that was told as paid."""
    refunds: dict[str, int] = field(default_factory=dict)
    """What staff were promised to give back, by the refund's id."""


@dataclass
class Webhook:
    """News of the provider, until it was answered with 200."""

    event: dict[str, Any]
    answered: bool = False
    lost: bool = False


class World:
    """Two buyers, some tickets, and everything between them.

    Args:
        stack: the processes, which know nothing of earlier scenarios after this.
        tickets: how many are for sale.
    """

    def __init__(self, stack: Stack, tickets: int) -> None:
        self.stack = stack
        self.now = datetime.now(UTC)
        self.told = Told()
        self.queues: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
        """What a reader has yet to take, by reader, topic and key: in this order, no other."""
        self.taken: list[tuple[str, dict[str, Any]]] = []
        self.versions: dict[tuple[str, str], int] = {}
        self.webhooks: list[Webhook] = []
        self.banks: list[tuple[str, str, str]] = []
        """Pages on which a buyer is asked: the order, the buyer, the address."""
        self.history: list[str] = []
        stack.provider.forget_faults()
        stack.at_once("reset", self.now)
        self._cursor = stack.provider.newest("events")
        self._offset = 0
        self._is_armed = False
        self.orders: list[str] = []
        self.tickets: list[str] = []
        for _ in range(tickets):
            reply = self.call("tickets", "list_ticket", seller_id="seller", price_cents=PRICE_CENTS)
            self.tickets.append(reply.result)
        self.deliver_all()

    # What happens

    def call(self, service: str, name: str, **arguments: Any) -> Reply:
        """Have a service do something, and take what it publishes to whom it concerns."""
        reply = self.stack.workers[service].call(name, self.now, **arguments)
        if self._is_armed:
            # Or what is left of it would strike the test's own questions.
            self.stack.provider.forget_faults()
            self._is_armed = False
        shown = {
            key: value
            for key, value in arguments.items()
            if key not in {"record", "payload", "signature"}
        }
        became = reply.refused or ("crashed" if reply.crashed else reply.error or reply.result)
        self.history.append(f"{service}.{name}({shown}): {became}")
        for record in reply.records:
            self._offset += 1
            record["offset"] = self._offset
            self._follow(record)
            for reader in READERS.get(record["topic"], ()):
                self.queues[reader, record["topic"], record["key"]].append(record)
        if service == "payments":
            self._fetch_webhooks()
        if reply.error and name != "receive":
            raise Violation(f"{service}.{name} broke:\n{reply.error}\n{self.story()}")
        return reply

    def story(self) -> str:
        return "\n".join(self.history)

    def _follow(self, record: dict[str, Any]) -> None:
        key = (record["topic"], record["key"])
        before = self.versions.get(key, 0)
        if record["version"] != before + 1:
            raise Violation(f"{key}: version {record['version']} follows {before}\n{self.story()}")
        self.versions[key] = record["version"]

    def _fetch_webhooks(self) -> None:
        for event in self.stack.provider.list_all("events", before=self._cursor):
            self._cursor = event["id"]
            self.webhooks.append(Webhook(event))

    def deliver(self, which: int, *, crash_at: int = 0, by_kill: bool = False) -> bool:
        """Hand the oldest record of some key to a reader of it; say whether it was taken."""
        waiting = [key for key, records in self.queues.items() if records]
        if not waiting:
            return False
        reader, topic, key = waiting[which % len(waiting)]
        queue = self.queues[reader, topic, key]
        record = queue[0]
        name = f"{record['type']} v{record['version']}"
        self.history.append(f"-> {reader}: {name} of {key}")
        reply = self.call(reader, "receive", record=record, crash_at=crash_at, by_kill=by_kill)
        if not reply.is_done:
            return False
        queue.pop(0)
        self.taken.append((reader, record))
        return True

    def deliver_again(self, which: int) -> None:
        """Replay a record that was taken before, however old."""
        if self.taken:
            reader, record = self.taken[which % len(self.taken)]
            reply = self.call(reader, "receive", record=record)
            if reply.result not in {"duplicate", "skipped"}:
                raise Violation(f"{reader} took {record['type']} twice: {reply}\n{self.story()}")

    def deliver_all(self) -> bool:
        """Hand out everything that can be taken; say whether anything was."""
        taken = False
        while True:
            waiting = [key for key, records in self.queues.items() if records]
            # A record that cannot be taken yet waits, as in the retry tiers, and others go on.
            if not sum(self.deliver(at) for at in range(len(waiting))):
                return taken
            taken = True

    def tell_webhook(self, which: int, *, again: bool = False, crash_at: int = 0) -> None:
        """Post some news of the provider, old or new."""
        pool = [each for each in self.webhooks if again or not (each.answered or each.lost)]
        if not pool:
            return
        webhook = pool[which % len(pool)]
        payload = json.dumps(webhook.event)
        self.history.append(f"-> payments: {webhook.event['type']}")
        reply = self.call(
            "payments",
            "webhook",
            payload=payload,
            signature=signature_of(payload),
            crash_at=crash_at,
        )
        if reply.is_done:
            if reply.result != 200:
                raise Violation(f"A webhook was answered with {reply.result}\n{self.story()}")
            webhook.answered = True

    def lose_webhook(self, which: int) -> None:
        pool = [each for each in self.webhooks if each.event["type"].startswith(LOSABLE)]
        if pool:
            pool[which % len(pool)].lost = True

    def reserve(self, buyer: int, ticket: int) -> None:
        ticket_id, buyer_id = self.tickets[ticket % len(self.tickets)], BUYERS[buyer]
        reply = self.call("orders", "reserve", ticket_id=ticket_id, buyer_id=buyer_id)
        if reply.is_done:
            self.orders.append(reply.result)
            self.told.reserved[reply.result] = buyer_id
            self.told.tickets[reply.result] = ticket_id

    def _order(self, which: int) -> tuple[str, str] | None:
        if not self.orders:
            return None
        order_id = self.orders[-1 - which % len(self.orders)]
        return order_id, self.told.reserved[order_id]

    def pay(
        self, which: int, card: str, fault: str, operation: str, crash_at: int, *, by_kill: bool
    ) -> None:
        if (found := self._order(which)) is None:
            return
        order_id, buyer_id = found
        self._arm(fault, operation)
        reply = self.call(
            "payments",
            "pay",
            order_id=order_id,
            buyer_id=buyer_id,
            card=card,
            crash_at=crash_at,
            by_kill=by_kill,
        )
        if reply.is_done and reply.result["status"] in {"succeeded", "refunded"}:
            self.told.paid[reply.result["id"]] = order_id
        if reply.is_done and reply.result["url"]:
            self.banks.append((order_id, buyer_id, reply.result["url"]))

    def _arm(self, fault: str, operation: str) -> None:
        if fault:
            self.stack.provider.fault(fault, operation)
            self._is_armed = True
            self.history.append(f"fault: {fault} at {operation}")

    def answer_bank(self, which: int, *, approve: bool, come_back: bool) -> None:
        if self.banks:
            order_id, buyer_id, url = self.banks[which % len(self.banks)]
            self.stack.provider.confirm(url, approve=approve)
            self.history.append(f"at the bank, for {order_id}: {'yes' if approve else 'no'}")
            self._fetch_webhooks()
            if come_back:
                self.call("payments", "come_back", order_id=order_id, buyer_id=buyer_id)

    def use_another_card(self, which: int, crash_at: int) -> None:
        if self.banks:
            order_id, buyer_id, _ = self.banks[which % len(self.banks)]
            self.call(
                "payments", "another_card", order_id=order_id, buyer_id=buyer_id, crash_at=crash_at
            )

    def cancel(self, which: int) -> None:
        if found := self._order(which):
            order_id, buyer_id = found
            reply = self.call("orders", "cancel", order_id=order_id, buyer_id=buyer_id)
            if reply.is_done:
                self.told.cancelled.add(order_id)

    def refund(self, which: int, cents: int) -> None:
        if found := self._order(which):
            reply = self.call("payments", "refund", order_id=found[0], amount_cents=cents)
            if reply.is_done and reply.result:
                self.told.refunds[reply.result] = cents

    def refund_at_provider(self, which: int, cents: int) -> None:
        """Somebody gives money back by hand, on the provider's own pages."""
        intents = [each for each in self.intents() if each["status"] == "succeeded"]
        if not intents:
            return
        intent = intents[which % len(intents)]
        charge = self.stack.provider.ask("GET", f"/v1/charges/{intent['latest_charge']}")
        if (left := charge["amount"] - charge["amount_refunded"]) > 0:
            amount = min(cents, left)
            self.stack.provider.ask(
                "POST", "/v1/refunds", payment_intent=intent["id"], amount=amount
            )
            self.history.append(f"by hand at the provider: {amount} of {intent['id']} back")
            self._fetch_webhooks()

    def settle(self, *, fault: str = "", operation: str = "any", crash_at: int = 0) -> None:
        self._arm(fault, operation)
        self.call("payments", "settle", crash_at=crash_at)

    def pass_time(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.history.append(f"{seconds} s pass")

    def ring(self, crash_at: int = 0) -> None:
        """The alarm, or the sweep behind it."""
        self.call("expiration", "sweep", crash_at=crash_at)

    # And how it ends

    def come_to_rest(self) -> None:
        """Let the time to pay run out, and everything that is under way arrive."""
        quiet = 0
        self.pass_time(int(WINDOW.total_seconds()))
        for _ in range(MOST_ROUNDS):
            moved = self.deliver_all()
            moved |= bool(self.call("expiration", "sweep").result)
            for webhook in self.webhooks:
                if not (webhook.answered or webhook.lost):
                    self.tell_webhook(0)
                    moved = True
            moved |= bool(self.call("payments", "settle").result)
            moved |= self.deliver_all()
            self.pass_time(61)
            quiet = 0 if moved else quiet + 1
            if quiet == 2:
                break
        else:
            raise Violation(f"It does not come to rest.\n{self.story()}")
        if stuck := {key: len(each) for key, each in self.queues.items() if each}:
            raise Violation(f"Never taken: {stuck}\n{self.story()}")

    def intents(self) -> list[dict[str, Any]]:
        found = self.stack.provider.ask("GET", "/v1/payment_intents", limit=100)["data"]
        return [each for each in found if each["metadata"].get("order_id") in self.orders]

    def refunds(self, intent_id: str) -> list[dict[str, Any]]:
        given = self.stack.provider.ask("GET", "/v1/refunds", payment_intent=intent_id, limit=100)
        return [each for each in given["data"] if each["status"] == "succeeded"]


Act = Callable[[World], None]
