"""What is on a topic already, as whoever takes over a dead relay's keys finds it out."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from confluent_kafka import Producer
from django.utils import timezone

from apps.outbox import metrics
from apps.outbox.clients import fenced_settings
from apps.outbox.kafka import Sender
from apps.outbox.models import OutboxEvent, RelayMember
from apps.outbox.slots import SLOTS, slot_of
from apps.outbox.stores import open_store
from apps.outbox.tail import read_event_ids
from apps.outbox.tests.sending import wait_for

pytestmark = pytest.mark.django_db(transaction=True)

SECONDS = 30.0
SHORT_LEASE = 3.0


def sent(topic, *, owner="", event_id=None):
    """Send a record in a transaction that stays open, and return its producer and event id."""
    event_id = event_id or uuid.uuid4()
    producer = Producer(fenced_settings(owner or str(event_id)))
    producer.init_transactions(SECONDS)
    producer.begin_transaction()
    producer.produce(topic, b"", b"gate-1", headers=[("ce_id", str(event_id))])
    assert producer.flush(SECONDS) == 0
    return producer, event_id


@pytest.mark.parametrize("is_committed", [True, False], ids=["committed", "aborted"])
def test_records_behind_another_relays_open_transaction_are_found(sending, is_committed):
    slow, others = sent(sending.topic)
    dead, mine = sent(sending.topic)
    dead.commit_transaction(SECONDS)
    looks = 0

    def waiting():
        nonlocal looks
        looks += 1
        if looks == 4:  # the open transaction has been reached by then, and nothing behind it
            (slow.commit_transaction if is_committed else slow.abort_transaction)(SECONDS)

    found = read_event_ids({sending.topic: timezone.now() - timedelta(minutes=1)}, waiting=waiting)

    assert mine in found
    assert (others in found) is is_committed


def test_transaction_of_a_relay_that_stands_still_is_ended_to_read_behind_it(sending):
    key = next(key for key in map(str, range(SLOTS)) if slot_of(key) < SLOTS // 2)
    [event_id] = sending.publish_run(key, [1])
    store = open_store()
    store.join("slow", SHORT_LEASE)
    store.join("dead", SECONDS)
    store.share_out("dead", SECONDS, range(SLOTS))
    sent(sending.topic, owner="slow")
    dead, _ = sent(sending.topic, event_id=event_id)
    dead.commit_transaction(SECONDS)
    over = timezone.now() - timedelta(hours=1)
    RelayMember.objects.filter(owner="dead").update(expires_at=over)
    repeated = metrics.published.labels(sending.topic, "repeated", "")._value

    # The first half of the slots is its own while the slow one counts as alive.
    relay = sending.relay(sender=Sender(timeout=SECONDS, is_fenced=True), owner="first")
    wait_for(lambda: relay.run_once() or not OutboxEvent.objects.filter(state="pending").exists())

    assert repeated.get() == 1
