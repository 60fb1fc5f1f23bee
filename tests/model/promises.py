"""What must hold once everything has come to rest: the rules of docs/states.md."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from tests.model.world import Violation, World

UNDER_WAY = frozenset(
    {"processing", "requires_action", "requires_confirmation", "requires_capture"}
)
Rows = dict[str, list[dict[str, Any]]]


def check(world: World) -> None:
    """Hold a world at rest against every promise.

    Raises:
        Violation: what was broken, and the whole story of the scenario.
    """
    state: dict[str, Rows] = {
        service: reply.result for service, reply in world.stack.at_once("state", world.now).items()
    }
    broken = list(_Promises(world, state).broken())
    if broken:
        raise Violation("\n".join([*broken, "", world.story()]))


class _Promises:
    def __init__(self, world: World, state: dict[str, Rows]) -> None:
        self.world = world
        self.orders = {row["id"]: row for row in state["orders"]["Order"]}
        self.order_refunds = state["orders"]["Refund"]
        self.tickets = {row["id"]: row for row in state["tickets"]["Ticket"]}
        self.attempts = {row["id"]: row for row in state["payments"]["PaymentAttempt"]}
        self.payments = state["payments"]["Payment"]
        self.refunds = {row["id"]: row for row in state["payments"]["Refund"]}
        self.ledger = state["payments"]["LedgerTransaction"]
        self.deadlines = state["expiration"]["Deadline"]
        self.intents = world.intents()
        self.given = {each["id"]: world.refunds(each["id"]) for each in self.intents}

    def broken(self) -> Iterator[str]:
        yield from self.holds()
        yield from self.charges()
        yield from self.ends()
        yield from self.books()
        yield from self.what_was_told()

    def holds(self) -> Iterator[str]:
        """Rules 1 and 2, and no hold lives for ever."""
        claims = Counter(
            row["ticket_id"] for row in self.orders.values() if row["status"] != "cancelled"
        )
        for ticket_id, count in claims.items():
            if count > 1:
                yield f"ticket {ticket_id} is claimed by {count} orders"
        owners: dict[str, str] = {}
        for order_id, order in self.orders.items():
            if order["status"] not in {"complete", "cancelled"}:
                yield f"order {order_id} is {order['status']} for ever"
            if order["status"] == "complete":
                owners[order["ticket_id"]] = order_id
        for ticket_id, ticket in self.tickets.items():
            owner = owners.get(ticket_id)
            wanted = ("sold", owner) if owner else ("free", None)
            if (found := (ticket["status"], ticket["order_id"])) != wanted:
                yield f"ticket {ticket_id} is {found}, not {wanted}"

    def charges(self) -> Iterator[str]:
        """Rules 3 and 4, as the provider has it."""
        kept: defaultdict[str, list[int]] = defaultdict(list)
        for intent in self.intents:
            if left := self.paid(intent) - self.back(intent):
                kept[intent["metadata"]["order_id"]].append(left)
        for order_id, order in self.orders.items():
            amounts = kept.pop(order_id, [])
            if len(amounts) > 1:
                yield f"order {order_id} was charged {len(amounts)} times: {amounts}"
            elif amounts and order["status"] != "complete":
                yield f"order {order_id} is {order['status']}, and {amounts} is kept of it"
            elif order["status"] == "complete" and not amounts:
                yield f"order {order_id} is complete, and nothing is kept for it"
        if kept:
            yield f"money is kept of orders that are not there: {dict(kept)}"

    def ends(self) -> Iterator[str]:
        """Everything that began has ended."""
        for intent in self.intents:
            if intent["status"] in UNDER_WAY:
                yield f"intent {intent['id']} is {intent['status']} for ever"
        for attempt_id, attempt in self.attempts.items():
            if attempt["status"] == "pending":
                yield f"attempt {attempt_id} is pending for ever"
        for refund_id, refund in self.refunds.items():
            if refund["state"] in {"due", "sent"}:
                yield f"refund {refund_id} is {refund['state']} for ever"
        waiting = [row["id"] for row in self.order_refunds if not _is_over(row)]
        if waiting:
            yield f"orders waits for refunds {waiting} for ever"
        for deadline in self.deadlines:
            if deadline["state"] == "armed":
                yield f"the deadline of order {deadline['order_id']} never passes"

    def books(self) -> Iterator[str]:
        """The ledger balances, and it and the attempts say what the provider says."""
        balance: Counter[str] = Counter()
        for entry in self.ledger:
            if sum(line["cents"] for line in entry["lines"]):
                yield f"ledger transaction {entry['reference']} does not balance"
            for line in entry["lines"]:
                if line["account"] == "stripe_balance":
                    balance[entry["payment_id"]] += line["cents"]
        attempts = {row["intent_id"]: row for row in self.attempts.values()}
        for intent in self.intents:
            attempt = attempts.get(intent["id"])
            paid, back = self.paid(intent), self.back(intent)
            if attempt is None and paid:
                yield f"{paid} were taken on {intent['id']}, of which nobody knows"
            if attempt is None:
                continue
            if (found := balance[attempt["id"]]) != paid - back:
                yield f"the ledger has {found} for {intent['id']}, not {paid - back}"
            if (noted := attempt["refunded_cents"]) != back:
                yield f"{noted} noted as given back of {intent['id']}, not {back}"

    def paid(self, intent: dict[str, Any]) -> int:
        return int(intent["amount_received"]) if intent["status"] == "succeeded" else 0

    def back(self, intent: dict[str, Any]) -> int:
        return sum(each["amount"] for each in self.given[intent["id"]])

    def what_was_told(self) -> Iterator[str]:
        told = self.world.told
        for order_id, buyer_id in told.reserved.items():
            order = self.orders.get(order_id)
            if order is None or order["buyer_id"] != buyer_id:
                yield f"{buyer_id} was told of order {order_id}, which is not there"
        for order_id in told.cancelled:
            order = self.orders[order_id]
            if order["status"] != "cancelled" and not order["cancelled_at"]:
                yield f"order {order_id} was told as cancelled, and is {order['status']}"
        for payment_id in told.paid:
            status = self.attempts[payment_id]["status"]
            if status not in {"succeeded", "refunded"}:
                yield f"attempt {payment_id} was told as paid, and is {status}"
        for refund_id in told.refunds:
            if refund_id not in self.refunds:
                yield f"refund {refund_id} was promised, and is not there"


def _is_over(refund: dict[str, Any]) -> bool:
    return bool(refund["refunded_at"] or refund["failed_at"])
