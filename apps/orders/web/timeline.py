"""What happened to an order, in words: for its buyer what matters, for staff everything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apps.core.templatetags.core import money
from apps.orders import events
from apps.orders.models import Order, TimelineEntry
from apps.outbox.models import OutboxEvent

Facts = Mapping[str, Any]

CANCELLATIONS: dict[str, str] = {
    Order.CancelReason.BUYER: "You cancelled the order.",
    Order.CancelReason.EXPIRED: "The reservation ended unpaid, and the ticket became free.",
    Order.CancelReason.REFUNDED: "The order ended, since all of the money goes back to you.",
}
DISPUTES: dict[str, str] = {
    "won": "Your bank has decided about the payment that was disputed: it stands.",
    "lost": "Your bank has decided about the payment that was disputed, and gave you the money.",
}
MAILS: dict[str, str] = {
    "reserved": "We sent you a mail about the reservation.",
    "paid": "We sent you the ticket by mail.",
    "expired": "We sent you a mail that the reservation ended.",
    "cancelled": "We sent you a mail that the order is cancelled.",
    "refunded": "We sent you a mail about the refund.",
}
NO_MAIL = "We could not send you a mail about this order."


def _refund(facts: Facts) -> str:
    """A refund's amount; before refunds had an id, all of the attempt went back."""
    return money(facts["refund_cents"] or facts.get("amount_cents"), facts["currency"])


def _started(facts: Facts) -> str:
    return "You tried to pay again." if facts["attempt"] > 1 else "You began to pay."


WORDS: dict[str, Callable[[Facts], str]] = {
    events.OrderCreated.type: lambda _: "You reserved the ticket.",
    events.PaymentStarted.type: _started,
    events.PaymentActionRequired.type: lambda _: "Your bank asked you to confirm the payment.",
    events.PaymentUnsure.type: lambda _: (
        "It was not certain at once whether the payment went through, so we asked again."
    ),
    events.PaymentFailed.type: lambda facts: (
        f"The payment did not go through. {facts['failure_message']}"
    ),
    events.PaymentSucceeded.type: lambda facts: (
        f"Your payment of {money(facts['amount_cents'], facts['currency'])} arrived."
    ),
    events.OrderCompleted.type: lambda _: "The ticket became yours.",
    events.OrderExpired.type: lambda _: "The time to pay ran out.",
    events.OrderCancelled.type: lambda facts: CANCELLATIONS[facts["reason"]],
    events.PaymentRefundRequested.type: lambda facts: (
        f"{_refund(facts)} was to go back to you. {facts['reason']}"
    ),
    events.PaymentRefunded.type: lambda facts: f"{_refund(facts)} went back to you.",
    events.PaymentRefundFailed.type: lambda facts: (
        f"{_refund(facts)} could not be given back to you."
        if facts["refund_cents"]
        else "Money could not be given back to you."
    ),
    events.PaymentDisputed.type: lambda facts: DISPUTES.get(
        facts["dispute_status"], "Your bank asked for the payment back."
    ),
    events.MailSent.type: lambda facts: MAILS.get(facts["kind"], "We sent you a mail."),
    events.MailGivenUp.type: lambda _: NO_MAIL,
}
"""What a buyer reads of an event; what is not here happened behind the scenes."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing that happened, as its buyer reads it."""

    at: datetime
    words: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """One event, as staff read it.

    Args:
        entry: the event as it was noted.
        name: its type without what all types begin and end with.
        cause: the entry that caused it, if it is one of this timeline.
        facts: what it says beside ids that are the same in all of them.
        row: the outbox's row of what orders published; None when it was pruned, or is another's.
    """

    entry: TimelineEntry
    name: str
    cause: Line | None
    facts: list[tuple[str, Any]]
    row: OutboxEvent | None


KNOWN = frozenset(
    {
        *("order_id", "version", "currency", "buyer_id", "seller_id", "expires_at"),
        *("ticket_id", "ticket_title", "ticket_version", "price_cents"),
    }
)
"""Facts that the order's own page shows."""


def tell_staff(
    entries: Sequence[TimelineEntry], rows: Mapping[str, OutboxEvent] | None = None
) -> list[Line]:
    """Return everything of a timeline.

    Args:
        entries: in the order of their causes.
        rows: of the outbox, by event id.
    """
    lines: dict[str, Line] = {}
    for entry in entries:
        lines[entry.event_id] = Line(
            entry=entry,
            name=" ".join(entry.type.split(".")[2:-1]).replace("_", " "),
            cause=lines.get(entry.causation_id),
            facts=list(_shown(entry.facts)),
            row=(rows or {}).get(entry.event_id),
        )
    return list(lines.values())


def _shown(facts: Facts) -> Iterator[tuple[str, Any]]:
    for name, value in facts.items():
        if name in KNOWN or value in ("", None, 0):
            continue
        if name.endswith("_cents"):
            yield (
                name.removesuffix("_cents").replace("_", " "),
                money(value, facts.get("currency", "usd")),
            )
        else:
            yield name.replace("_", " "), value


def tell_buyer(entries: Iterable[TimelineEntry]) -> list[Step]:
    """Return what the buyer reads of a timeline; a bank's second word on the same is left out."""
    steps: list[Step] = []
    for entry in entries:
        if (tell := WORDS.get(entry.type)) is None:
            continue
        step = Step(at=entry.occurred_at, words=tell(entry.facts))
        if not steps or steps[-1].words != step.words:
            steps.append(step)
    return steps
