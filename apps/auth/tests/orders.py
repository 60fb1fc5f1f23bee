"""What happens to an order, told to auth as orders and payments tell it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import uuid6
from bson import ObjectId

from apps.auth.events import OrderCancelled, OrderCompleted, OrderCreated, PaymentRefunded
from apps.auth.models import Mail
from apps.auth.tests.factories import make_user
from apps.outbox.testing.outbox import Outbox


class Story:
    """One order of one buyer."""

    def __init__(self, *, title="Front row", buyer=None, buyer_id=""):
        self.buyer = buyer or (None if buyer_id else make_user())
        self.outbox = Outbox()
        self.order_id = str(uuid6.uuid7())
        self.facts = {
            "order_id": self.order_id,
            "buyer_id": buyer_id or str(self.buyer.pk),
            "ticket_id": str(ObjectId()),
            "ticket_title": title,
            "price_cents": 4250,
            "currency": "usd",
            "expires_at": datetime.now(UTC) + timedelta(minutes=15),
        }

    def reserve(self, event_id=""):
        return self.deliver(OrderCreated(version=1, **self.facts), event_id)

    def pay(self, event_id=""):
        return self.deliver(OrderCompleted(version=2, **self.facts), event_id)

    def cancel(self, reason="buyer", version=3):
        return self.deliver(OrderCancelled(version=version, reason=reason, **self.facts))

    def refund(self, version=4, **parts):
        facts = {
            "order_id": self.order_id,
            "buyer_id": self.facts["buyer_id"],
            "amount_cents": 4250,
            "currency": "usd",
            "reason": "The event was called off.",
            "refunded_at": datetime(2026, 11, 23, 12, tzinfo=UTC),
        }
        return self.deliver(PaymentRefunded(version=version, **(facts | parts)))

    def deliver(self, event, event_id=""):
        headers = {"ce_id": event_id or str(uuid6.uuid7()), "ce_correlationid": "request"}
        return self.outbox.deliver(event, headers=headers)

    @property
    def mails(self):
        return list(Mail.objects.filter(order_id=self.order_id).order_by("queued_at"))

    @property
    def mail(self):
        (mail,) = self.mails
        return mail
