"""Records as their owners write them, from their bytes to their effect."""

from __future__ import annotations

import orjson
import pytest

from apps.orders.handlers import HANDLERS
from apps.orders.models import Refund, TicketCopy
from apps.orders.tests.factories import NOON, new_id
from apps.orders.tests.story import let_expire, reload, reserve
from apps.outbox.codec import Codec
from apps.outbox.dead_letters import Record
from apps.outbox.failures import Poison
from apps.outbox.receiver import Outcome, Receiver
from apps.outbox.schemas import local_schemas

pytestmark = pytest.mark.django_db(transaction=True)

NOON_MS = int(NOON.timestamp() * 1000)


class LocalRegistry:
    """The committed schemas, numbered: what a registry holds once they are registered."""

    def __init__(self):
        self._names = sorted(local_schemas())

    def schema_id(self, _topic, schema, /):
        return next(n for n, name in enumerate(self._names) if local_schemas()[name] is schema)

    def writer_schema(self, schema_id, /):
        return local_schemas()[self._names[schema_id]].parsed


@pytest.fixture
def receiver():
    return Receiver("ticketing.orders", HANDLERS, Codec(LocalRegistry()))


def written(record, key, fields, *, event_id=None):
    """Return the record as the service that owns its schema sends it."""
    topic = record.rpartition(".")[0]
    value = Codec(LocalRegistry()).encode(topic, record, orjson.dumps(fields))
    headers = (("ce_id", (event_id or new_id()).encode()),)
    return Record(
        topic=topic, key=key.encode(), value=value, headers=headers, partition=0, offset=0
    )


def of_ticket(name, ticket_id, **overrides):
    fields = {
        "ticket_id": ticket_id,
        "version": 1,
        "title": "Gallery ☂",
        "price_cents": 1250,
        "currency": "usd",
        "seller_id": "seller",
        "order_id": None,
        "is_withdrawn": False,
    }
    return written(f"ticketing.tickets.{name}", ticket_id, fields | overrides)


def of_payment(name, order, **extra):
    fields = {
        "order_id": str(order.pk),
        "version": 1,
        "payment_id": new_id(),
        "attempt": 1,
        "buyer_id": order.buyer_id,
        "amount_cents": order.price_cents,
        "currency": order.currency,
        "provider_reference": "pi_1",
    }
    return written(f"ticketing.payments.{name}", str(order.pk), fields | extra)


def test_ticket_is_known_from_the_bytes_of_tickets(receiver):
    ticket_id = new_id()

    receiver.receive(of_ticket("TicketCreated", ticket_id))
    receiver.receive(of_ticket("TicketUpdated", ticket_id, version=2, order_id="o"))

    copy = TicketCopy.objects.get(pk=ticket_id)
    assert (copy.title, copy.version, copy.order_id) == ("Gallery ☂", 2, "o")


def test_order_is_paid_from_the_bytes_of_payments(receiver):
    order = reserve()

    receiver.receive(of_payment("PaymentStarted", order))
    receiver.receive(
        of_payment("PaymentFailed", order, version=2, failure_code="x", failure_message="No.")
    )
    receiver.receive(of_payment("PaymentSucceeded", order, version=3))

    assert reload(order).is_complete


def test_order_expires_from_the_bytes_of_expiration_and_payments(receiver):
    order = reserve()
    key = str(order.pk)

    receiver.receive(
        written(
            "ticketing.expiration.ExpirationCompleted",
            key,
            {"order_id": key, "version": 1, "expires_at": NOON_MS, "fired_at": NOON_MS},
        )
    )
    receiver.receive(
        written("ticketing.payments.PaymentClosed", key, {"order_id": key, "version": 1})
    )

    assert reload(order).is_cancelled


def test_refund_is_noted_from_the_bytes_of_payments(receiver):
    order = let_expire(reserve())
    refund = {"refund_id": "", "refund_cents": 0, "refunded_total_cents": 0, "requested_by": ""}

    receiver.receive(
        of_payment(
            "PaymentRefunded", order, version=9, reason="Gone.", refunded_at=NOON_MS, **refund
        )
    )

    assert Refund.objects.get(order=order).refunded_at == NOON


def test_record_that_comes_again_is_a_duplicate(receiver):
    order = reserve()
    record = of_payment("PaymentSucceeded", order)

    outcomes = [receiver.receive(record) for _ in range(2)]

    assert outcomes == [Outcome.PROCESSED, Outcome.DUPLICATE]


@pytest.mark.parametrize("value", [None, b"", b"{}", b"\x00", b"\x00\x00\x00\x00\x00", b"\x01abcd"])
def test_poison_is_refused_and_changes_nothing(receiver, value):
    order = reserve()
    good = of_payment("PaymentSucceeded", order)

    with pytest.raises(Poison):
        receiver.receive(
            Record(
                topic=good.topic,
                key=good.key,
                value=value,
                headers=good.headers,
                partition=0,
                offset=1,
            )
        )

    assert receiver.receive(good) is Outcome.PROCESSED
