"""What each side says. None of it is written down: it is read anew each time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog

from apps.outbox.codec import Codec
from apps.outbox.dead_letters import Record
from apps.outbox.failures import Poison
from apps.outbox.rereading import read_records
from apps.payments import selectors
from apps.payments.events import OrderFact
from apps.payments.gateway import Gateway, ListedDispute, ListedIntent, ListedRefund
from apps.payments.models import Dispute, Payment, PaymentAttempt, Refund

log = structlog.get_logger(__name__)

TICKETS = "ticketing.tickets"
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Told:
    """The newest that a topic says of an order or a ticket.

    Args:
        fields: of its newest event.
        at: when that happened.
    """

    fields: dict[str, Any]
    at: datetime


@dataclass(kw_only=True)
class Provider:
    """What the provider has, by the ids of its payment intents."""

    intents: dict[str, ListedIntent] = field(default_factory=dict)
    refunds: dict[str, list[ListedRefund]] = field(default_factory=lambda: defaultdict(list))
    disputes: dict[str, list[ListedDispute]] = field(default_factory=lambda: defaultdict(list))


@dataclass(kw_only=True)
class Here:
    """What payments has written down about some orders."""

    payments: dict[str, Payment] = field(default_factory=dict)
    attempts: dict[str, list[PaymentAttempt]] = field(default_factory=lambda: defaultdict(list))
    refunds: dict[str, list[Refund]] = field(default_factory=lambda: defaultdict(list))
    disputes: dict[str, list[Dispute]] = field(default_factory=lambda: defaultdict(list))


def read_provider(gateway: Gateway, since: datetime | None) -> Provider:
    """Return all that the provider has of the payments since then.

    Raises:
        ProviderUnsure, ProviderRefused: it does not say.
    """
    found = Provider()
    for intent in gateway.list_intents(since=since):
        found.intents[intent.id] = intent
    for refund in gateway.list_all_refunds(since=since):
        found.refunds[refund.intent_id].append(refund)
    for dispute in gateway.list_disputes(since=since):
        found.disputes[dispute.intent_id].append(dispute)
    return found


def read_topic(topic: str, key: str, codec: Codec, since: datetime | None) -> dict[str, Told]:
    """Return the newest that a topic says of each of its orders or tickets.

    A record that is no event says nothing of them: it is a dead letter of each group that reads
    the topic, and stays on it for as long as the topic keeps anything.

    Args:
        topic: its name.
        key: the field that holds the id.
        codec: reads the records.
        since: leave out what was sent before.
    """
    newest: dict[str, Told] = {}
    for record in read_records(topic, since):
        if not record.value:
            continue
        try:
            _, fields = codec.decode(record.value)
        except Poison as exc:
            place = {"partition": record.partition, "offset": record.offset}
            log.warning("record_left_out", topic=topic, why=str(exc), **place)
            continue
        known = newest.get(fields[key])
        if known is None or fields["version"] > known.fields["version"]:
            newest[fields[key]] = Told(fields=fields, at=_time_of(record))
    return newest


def read_orders(codec: Codec, since: datetime | None) -> dict[str, Told]:
    return read_topic(OrderFact.topic, "order_id", codec, since)


def read_tickets(codec: Codec, since: datetime | None) -> dict[str, Told]:
    return read_topic(TICKETS, "ticket_id", codec, since)


def read_here(order_ids: Sequence[str]) -> Here:
    """Return what payments has of these orders."""
    here = Here()
    for payment in selectors.list_payments(order_ids=order_ids):
        here.payments[payment.order_id] = payment
    for attempt in selectors.list_attempts(order_ids=order_ids):
        here.attempts[attempt.order_id].append(attempt)
    for refund in selectors.list_refunds_of_orders(order_ids=order_ids):
        here.refunds[refund.payment_id].append(refund)
    for dispute in selectors.list_disputes_of_orders(order_ids=order_ids):
        here.disputes[dispute.payment_id].append(dispute)
    return here


def portions(ids: Sequence[str], size: int = 500) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


def _time_of(record: Record) -> datetime:
    text = record.header("ce_time")
    return datetime.fromisoformat(text) if text else LONG_AGO
