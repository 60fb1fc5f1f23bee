"""The only way into the queue: one mail for each event and kind, in the inbox's transaction."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Min

from apps.auth.events import (
    OrderCancelled,
    OrderCompleted,
    OrderCreated,
    OrderFact,
    PaymentRefunded,
)
from apps.auth.mail import metrics
from apps.auth.models import Mail
from apps.core.errors import Conflict
from apps.outbox.context import current_trace
from apps.outbox.transactions import transactional

EXPIRED = "expired"
TIMED_UUID = 7


class NothingToTry(Conflict):
    """The mail was sent, or is being sent at this moment."""

    code = "nothing_to_try"


def announce_reservation(*, order: OrderCreated, now: datetime) -> None:
    """Tell the buyer that the ticket is held, and until when."""
    _queue(Mail.Kind.RESERVED, order.order_id, order.buyer_id, _facts_of(order), now)


def announce_payment(*, order: OrderCompleted, now: datetime) -> None:
    """Send the buyer the ticket."""
    _queue(Mail.Kind.PAID, order.order_id, order.buyer_id, _facts_of(order), now)


def announce_end(*, order: OrderCancelled, now: datetime) -> None:
    """Tell the buyer that the ticket is not theirs, and why."""
    kind = Mail.Kind.EXPIRED if order.reason == EXPIRED else Mail.Kind.CANCELLED
    facts = _facts_of(order) | {"reason": order.reason, "was_paid": bool(order.payment_id)}
    _queue(kind, order.order_id, order.buyer_id, facts, now)


def announce_refund(*, payment: PaymentRefunded, now: datetime) -> None:
    """Tell the buyer that money went back, how much of it, and why."""
    whole = payment.amount_cents
    facts = {
        "amount_cents": whole,
        "refund_cents": payment.refund_cents or whole,
        "refunded_total_cents": payment.refunded_total_cents or payment.refund_cents or whole,
        "currency": payment.currency,
        "reason": payment.reason,
        "refunded_at": payment.refunded_at.isoformat(),
    }
    _queue(Mail.Kind.REFUNDED, payment.order_id, payment.buyer_id, facts, now)


def try_again(*, mail_id: uuid.UUID, now: datetime) -> None:
    """Send a mail that waits or was given up as soon as a mailer is free.

    Raises:
        NothingToTry: it was sent, or is being sent.
    """
    if not Mail.objects.get(pk=mail_id).try_again(now=now):
        raise NothingToTry("The mail was sent, or is being sent at this moment.")


def prune(*, older_than: timedelta, now: datetime) -> int:
    """Remove what ended and was queued so long ago; return how many mails that was."""
    ended = Mail.objects.filter(due_at=None, queued_at__lt=now - older_than)
    return ended.delete()[0]


def set_gauges() -> None:
    """Measure the queue."""
    unsent = Mail.objects.filter(state__in=(Mail.State.QUEUED, Mail.State.SENDING))
    first = unsent.aggregate(first=Min("queued_at"))["first"]
    age = 0 if first is None else (datetime.now(UTC) - first).total_seconds()
    metrics.waiting.set(unsent.count())
    metrics.oldest.set(age)
    metrics.given_up.set(Mail.objects.filter(state=Mail.State.GIVEN_UP).count())


@transactional
def _queue(
    kind: Mail.Kind, order_id: str, user_id: str, facts: dict[str, Any], now: datetime
) -> None:
    trace = current_trace()
    if Mail.objects.filter(event_id=trace.causation_id, kind=kind).exists():
        return  # an old event, read again after its inbox row was pruned
    mail = Mail(
        event_id=trace.causation_id,
        kind=kind,
        order_id=order_id,
        user_id=user_id,
        facts=facts,
        due_at=now,
        trying_since=now,
        queued_at=now,
        correlation_id=trace.correlation_id,
        traceparent=trace.traceparent,
    )
    # A group that reads a topic from its beginning must not write to everybody about last year.
    age = now - (_time_of(trace.causation_id) or now)
    if age > timedelta(seconds=settings.MAIL_GIVE_UP_SECONDS):
        mail.state, mail.due_at = Mail.State.GIVEN_UP, None
        mail.last_error = f"Not sent by itself: its event was {age.days} days old when it came."
    mail.save(force_insert=True)


def _facts_of(order: OrderFact) -> dict[str, Any]:
    return {
        "ticket_id": order.ticket_id,
        "title": order.ticket_title,
        "price_cents": order.price_cents,
        "currency": order.currency,
        "expires_at": order.expires_at.isoformat(),
    }


def _time_of(event_id: str) -> datetime | None:
    """Return when the event was made, which a UUIDv7 begins with; None for any other id."""
    try:
        key = uuid.UUID(event_id)
    except ValueError:
        return None
    if key.version != TIMED_UUID:
        return None
    return datetime.fromtimestamp((key.int >> 80) / 1000, UTC)
