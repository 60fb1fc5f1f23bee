"""Was every promise kept? `check` names what is wrong with the facts, and what shows it.

Pure functions of plain data, so that tests can plant a fault of each kind (tests/test_rules.py).
What holds of events alone is judged by apps/outbox's own checker (events.py).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus

from prove.facts import Facts, Row, identity
from prove.load import Told

CLAIMING = frozenset({"created", "awaiting_payment", "complete"})
OPEN = frozenset({"created", "awaiting_payment"})
# A failed attempt's intent waits for another card, which only we could give it.
ENDED_INTENTS = frozenset({"succeeded", "canceled", "requires_payment_method"})
ENDED_PAYMENTS = frozenset({"paid", "refunded", "closed"})
COPIED = ("version", "title", "price_cents", "currency", "seller_id", "is_withdrawn")


@dataclass(frozen=True, kw_only=True)
class Violation:
    """A rule that was broken, by what, and what shows it."""

    rule: str
    subject: str
    evidence: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.subject}: {self.evidence}"


RULES = {
    "sold once": "at most one order has a claim on a ticket",
    "hold ends": "at rest every hold is paid or released, and the ticket shows it",
    "charged once": "at most one charge of an order succeeded",
    "money fits": "a complete order has its price and no other has any",
    "known money": "no charge and no intent without its order and attempt; none is still open",
    "ledger": "each entry sums to 0, and each order's balance is the provider's",
    "read models": "each copy equals its source",
    "told is true": "what a client was told with 200, 201 or 204 holds at the end",
    "dead letters": "what was planted is a dead letter in every group, and nothing else is",
    "rest": "nothing waits to be sent or handled",
}


def check(facts: Facts) -> list[Violation]:
    """Return every broken rule; an empty list is what one hopes for."""
    return list(_Rules(facts).violations())


@dataclass
class _Rules:
    facts: Facts

    @cached_property
    def claims(self) -> dict[str, list[str]]:
        found = defaultdict(list)
        for order_id, order in self.facts.orders.items():
            if order["status"] in CLAIMING:
                found[order["ticket_id"]].append(order_id)
        return found

    @cached_property
    def intents(self) -> dict[str, Row]:
        return {intent["id"]: intent for intent in self.facts.intents}

    @cached_property
    def attempts(self) -> dict[str, Row]:
        return {identity(attempt["_id"]): attempt for attempt in self.facts.attempts}

    @cached_property
    def charges(self) -> dict[str, list[Row]]:
        """The charges that took money, by order."""
        found = defaultdict(list)
        for charge in self.facts.charges:
            if charge["paid"]:
                found[self.order_of(charge["payment_intent"])].append(charge)
        return found

    def order_of(self, intent_id: str) -> str:
        metadata = self.intents.get(intent_id, {}).get("metadata", {})
        return str(metadata.get("order_id", ""))

    def balance(self, order_id: str) -> int:
        """Return what the provider keeps for an order, in cents."""
        charges = self.charges.get(order_id, [])
        return sum(charge["amount"] - charge["amount_refunded"] for charge in charges)

    def violations(self) -> Iterator[Violation]:
        yield from self.sold_once()
        yield from self.holds()
        yield from self.money()
        yield from self.known_money()
        yield from self.ledger()
        yield from self.read_models()
        yield from self.told()
        yield from self.letters()
        for what, count in self.facts.waiting.items():
            if count:
                yield Violation(rule="rest", subject=what, evidence=f"{count}")

    def sold_once(self) -> Iterator[Violation]:
        for ticket_id, order_ids in self.claims.items():
            if len(order_ids) > 1:
                yield Violation(
                    rule="sold once", subject=f"ticket {ticket_id}", evidence=", ".join(order_ids)
                )

    def holds(self) -> Iterator[Violation]:
        rule = "hold ends"
        for order_id, order in self.facts.orders.items():
            if order["status"] in OPEN:
                yield Violation(
                    rule=rule,
                    subject=f"order {order_id}",
                    evidence=f"{order['status']}, to be paid until {order['expires_at']}",
                )
        for ticket_id, ticket in self.facts.tickets.items():
            claims = self.claims.get(ticket_id, [])
            expected = claims[0] if claims else None
            seen = (ticket["order_id"], ticket["holds"], ticket["status"] == "sold")
            if seen != (expected, claims, bool(claims)):
                yield Violation(
                    rule=rule,
                    subject=f"ticket {ticket_id}",
                    evidence=f"{ticket['status']} by {ticket['order_id']}, holds "
                    f"{ticket['holds']}; claimed by {expected}",
                )

    def money(self) -> Iterator[Violation]:
        for order_id, charges in self.charges.items():
            if len(charges) > 1:
                ids = ", ".join(charge["id"] for charge in charges)
                yield Violation(rule="charged once", subject=f"order {order_id}", evidence=ids)
        for order_id, order in self.facts.orders.items():
            due = order["price_cents"] if order["status"] == "complete" else 0
            if (kept := self.balance(order_id)) != due:
                yield Violation(
                    rule="money fits",
                    subject=f"order {order_id}",
                    evidence=f"{order['status']}: {due} cents are due, {kept} are kept",
                )

    def known_money(self) -> Iterator[Violation]:
        rule = "known money"
        known = {attempt["intent_id"]: attempt for attempt in self.facts.attempts}
        for intent in self.facts.intents:
            subject = f"intent {intent['id']}"
            if self.order_of(intent["id"]) not in self.facts.orders:
                yield Violation(rule=rule, subject=subject, evidence="no such order")
            if intent["status"] not in ENDED_INTENTS:
                yield Violation(rule=rule, subject=subject, evidence=f"still {intent['status']}")
            if intent["status"] == "succeeded" and intent["id"] not in known:
                yield Violation(rule=rule, subject=subject, evidence="paid, and no attempt has it")
        for attempt in self.facts.attempts:
            is_paid = attempt["status"] in {"succeeded", "refunded"}
            intent = self.intents.get(attempt["intent_id"], {})
            if attempt["status"] == "pending" or is_paid != (intent.get("status") == "succeeded"):
                yield Violation(
                    rule=rule,
                    subject=f"attempt {identity(attempt['_id'])}",
                    evidence=f"{attempt['status']}, its intent {intent.get('status')}",
                )

    def ledger(self) -> Iterator[Violation]:
        rule = "ledger"
        accounts: dict[str, Counter[str]] = defaultdict(Counter)
        references: Counter[str] = Counter()
        for entry in self.facts.ledger:
            references[entry["reference"]] += 1
            if total := sum(line["cents"] for line in entry["lines"]):
                yield Violation(
                    rule=rule, subject=entry["reference"], evidence=f"sums to {total} cents"
                )
            for line in entry["lines"]:
                accounts[entry["order_id"]][line["account"]] += line["cents"]
        for reference, times in references.items():
            if times > 1:
                yield Violation(rule=rule, subject=reference, evidence=f"entered {times} times")
        for order_id in {*self.facts.orders, *accounts, *self.charges}:
            kept, entered = self.balance(order_id), accounts[order_id]["stripe_balance"]
            if kept != entered:
                yield Violation(
                    rule=rule,
                    subject=f"order {order_id}",
                    evidence=f"{entered} cents entered, {kept} kept by the provider",
                )

    def read_models(self) -> Iterator[Violation]:
        rule = "read models"
        facts = self.facts
        for ticket_id in facts.tickets.keys() | facts.copies.keys():
            ticket, copy = facts.tickets.get(ticket_id), facts.copies.get(ticket_id)
            shown = None if ticket is None else _columns(ticket)
            known = None if copy is None else _columns(copy)
            if shown != known:
                yield Violation(
                    rule=rule, subject=f"ticket {ticket_id}", evidence=f"{shown}, orders: {known}"
                )
        for order_id in facts.orders.keys() | facts.payments.keys() | facts.deadlines.keys():
            subject = f"order {order_id}"
            order, payment = facts.orders.get(order_id), facts.payments.get(order_id)
            deadline = facts.deadlines.get(order_id)
            if order is None or payment is None or deadline is None:
                names = {"orders": order, "payments": payment, "expiration": deadline}
                gone = ", ".join(name for name, row in names.items() if row is None)
                yield Violation(rule=rule, subject=subject, evidence=f"unknown to {gone}")
                continue
            # Not every event of a payment changes its order, so that their versions may differ.
            is_paid = order["status"] == "complete"
            agreed = (order["price_cents"], order["buyer_id"], is_paid and order["payment_id"])
            there = (
                payment["amount_cents"],
                payment["buyer_id"],
                is_paid and payment["paid_payment_id"],
            )
            if agreed != there:
                yield Violation(rule=rule, subject=subject, evidence=f"{agreed}, payments: {there}")
            states = {"complete": {"paid"}, "cancelled": ENDED_PAYMENTS - {"paid"}}
            if payment["state"] not in states.get(order["status"], ENDED_PAYMENTS):
                yield Violation(
                    rule=rule,
                    subject=subject,
                    evidence=f"{order['status']}, payments: {payment['state']}",
                )
            if deadline["state"] == "armed":
                yield Violation(rule=rule, subject=subject, evidence="its deadline is still armed")

    def told(self) -> Iterator[Violation]:
        checks: dict[tuple[str, int], Callable[[Told], str]] = {
            ("signup", HTTPStatus.CREATED): self.fault_of_signup,
            ("list", HTTPStatus.CREATED): self.fault_of_listing,
            ("reserve", HTTPStatus.CREATED): self.fault_of_reservation,
            ("pay", HTTPStatus.CREATED): self.fault_of_payment,
            ("pay", HTTPStatus.BAD_REQUEST): self.fault_of_refusal,
            ("cancel", HTTPStatus.NO_CONTENT): self.fault_of_cancellation,
        }
        for told in self.facts.told:
            find = checks.get((told.what, told.status))
            if find is not None and (fault := find(told)):
                yield Violation(
                    rule="told is true",
                    subject=f"{told.what} {told.subject}",
                    evidence=f"{told.who} was told {told.status}; {fault}",
                )

    def fault_of_signup(self, told: Told) -> str:
        return "" if told.subject in self.facts.users else "no such user"

    def fault_of_listing(self, told: Told) -> str:
        ticket = self.facts.tickets.get(told.subject)
        if ticket is None:
            return "no such ticket"
        cents = round(float(told.body["price"]) * 100)
        same = (ticket["seller_id"], ticket["title"], ticket["price_cents"])
        return "" if same == (told.who, told.body["title"], cents) else f"it is {same}"

    def fault_of_reservation(self, told: Told) -> str:
        order = self.facts.orders.get(told.subject)
        if order is None:
            return "no such order"
        same = (order["buyer_id"], order["ticket_id"])
        return "" if same == (told.who, told.body["ticketId"]) else f"it is {same}"

    def fault_of_payment(self, told: Told) -> str:
        attempt = self.attempts.get(told.body["id"])
        if attempt is None or attempt["order_id"] != told.subject:
            return "no such attempt"
        return "" if self.charges.get(told.subject) else "the provider took nothing"

    def fault_of_refusal(self, told: Told) -> str:
        codes = {error.get("code") for error in told.body.get("errors", ())}
        if "order_already_paid" in codes and not self.charges.get(told.subject):
            return "the provider took nothing"
        return ""

    def fault_of_cancellation(self, told: Told) -> str:
        order = self.facts.orders.get(told.subject)
        if order is None:
            return "no such order"
        # A payment that was under way may revive it, if the ticket is free (rule 4).
        is_revived = order["status"] == "complete" and order["cancelled_at"] is not None
        return "" if order["status"] == "cancelled" or is_revived else f"it is {order['status']}"

    def letters(self) -> Iterator[Violation]:
        rule = "dead letters"
        found = Counter((each["event_id"], each["group"]) for each in self.facts.letters)
        expected = {
            (event_id, group)
            for topic, event_id in self.facts.planted
            for group in self.facts.readers[topic]
        }
        for event_id, group in sorted(expected - found.keys()):
            yield Violation(
                rule=rule, subject=event_id, evidence=f"planted, and no letter of {group or 'raw'}"
            )
        for letter in self.facts.letters:
            key = (letter["event_id"], letter["group"])
            if key not in expected:
                yield Violation(
                    rule=rule,
                    subject=f"{letter['topic']} {letter['event_id']}",
                    evidence=f"{letter['stage']} {letter['group']}: {letter['error_message']}",
                )
            elif found[key] > 1:
                yield Violation(rule=rule, subject=str(key), evidence=f"{found[key]} letters")


def _columns(row: Row) -> dict[str, object]:
    return {name: row[name] for name in COPIED} | {"order_id": row["order_id"] or None}
