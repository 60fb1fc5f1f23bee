from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import uuid6
from django.core.management import call_command

from apps.auth.mail import metrics, queueing
from apps.auth.models import Mail
from apps.auth.tests.orders import Story
from apps.outbox.models import ReceivedEvent
from apps.outbox.receiver import Outcome

pytestmark = pytest.mark.django_db(transaction=True)

Kind, State = Mail.Kind, Mail.State


def kinds(story):
    return [mail.kind for mail in story.mails]


def test_each_step_of_an_order_queues_one_mail():
    story = Story()

    story.reserve()
    story.pay()
    story.cancel(reason="buyer")
    story.refund()

    assert kinds(story) == [Kind.RESERVED, Kind.PAID, Kind.CANCELLED, Kind.REFUNDED]
    assert {mail.state for mail in story.mails} == {State.QUEUED}
    assert {mail.correlation_id for mail in story.mails} == {"request"}


def test_an_order_that_was_not_paid_in_time_queues_a_mail_of_its_own_kind():
    story = Story()

    story.cancel(reason="expired")

    assert kinds(story) == [Kind.EXPIRED]


def test_an_event_that_arrives_twice_queues_one_mail():
    story = Story()
    event_id = str(uuid6.uuid7())

    assert story.reserve(event_id) == Outcome.PROCESSED
    assert story.reserve(event_id) == Outcome.DUPLICATE

    assert kinds(story) == [Kind.RESERVED]


def test_an_event_that_arrives_again_after_the_inbox_forgot_it_queues_nothing():
    story = Story()
    event_id = str(uuid6.uuid7())
    story.reserve(event_id)
    ReceivedEvent.objects.filter(pk=f"ticketing.auth/{event_id}").delete()

    assert story.reserve(event_id) == Outcome.PROCESSED

    assert kinds(story) == [Kind.RESERVED]


@pytest.mark.parametrize("buyer_id", ["65f1c0ffee65f1c0ffee65f1", "junk"])
def test_an_order_of_nobody_that_is_known_queues_its_mail_all_the_same(buyer_id):
    story = Story(buyer_id=buyer_id)

    assert story.reserve() == Outcome.PROCESSED

    assert kinds(story) == [Kind.RESERVED]


def test_an_event_from_long_ago_is_not_written_about_unless_somebody_says_so():
    story = Story()
    old = datetime.now(UTC) - timedelta(days=30)
    random_part = uuid6.uuid7().int & ((1 << 80) - 1)
    event_id = str(uuid6.UUID(int=(int(old.timestamp() * 1000) << 80) | random_part))

    story.pay(event_id)

    assert story.mail.state == State.GIVEN_UP
    assert "30 days old" in story.mail.last_error

    queueing.try_again(mail_id=story.mail.pk, now=datetime.now(UTC))

    assert story.mail.state == State.QUEUED
    assert story.mail.due_at is not None


def test_due_mails_are_found_by_an_index():
    plan = Mail.objects.filter(due_at__lte=datetime.now(UTC)).order_by("due_at")[:50].explain()

    assert "IXSCAN" in plan
    assert "COLLSCAN" not in plan


def test_what_waits_and_what_was_given_up_is_measured_by_an_index():
    queueing.set_gauges()
    waiting, given_up = metrics.waiting._value.get(), metrics.given_up._value.get()
    story, other = Story(), Story()
    story.reserve()
    other.reserve()
    other.mail.give_up(why="Nobody answered.")

    queueing.set_gauges()

    assert metrics.waiting._value.get() == waiting + 1
    assert metrics.given_up._value.get() == given_up + 1
    assert metrics.oldest._value.get() >= 0
    assert "COLLSCAN" not in Mail.objects.filter(state=State.GIVEN_UP).explain()


def test_old_mails_are_removed_unless_they_may_still_be_sent():
    recent, old, waiting = Story(), Story(), Story()
    for story in (recent, old, waiting):
        story.reserve()
    for story in (recent, old):
        story.mail.give_up(why="Nobody answered.")
    long_ago = datetime.now(UTC) - timedelta(days=366)
    for story in (old, waiting):
        Mail.objects.filter(order_id=story.order_id).update(queued_at=long_ago)

    call_command("prune_mails")

    assert [len(story.mails) for story in (recent, old, waiting)] == [1, 0, 1]
