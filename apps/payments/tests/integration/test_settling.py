from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.utils import timezone

from apps.outbox import monitoring
from apps.outbox.context import Trace, traced
from apps.outbox.models import OutboxEvent
from apps.payments import services
from apps.payments.gateway import KeyReused, ProviderRefused, ProviderUnsure
from apps.payments.management.settler import Settler
from apps.payments.models import PaymentAttempt, StripeEvent
from apps.payments.tests.factories import (
    NOW,
    make_order,
)
from apps.payments.tests.sandbox import ROOT, eventually
from apps.payments.tests.steps import MUCH_LATER, facts_of, last, pay, settle

pytestmark = pytest.mark.django_db(transaction=True)

Status = PaymentAttempt.Status


def test_a_timeout_after_the_money_was_taken_ends_as_paid(sandbox) -> None:
    order = make_order()
    sandbox.fault("timeout_after", operation="confirm_intent")

    assert pay(order, sandbox.gateway()).status == Status.PENDING
    settle(sandbox.gateway())

    assert last(order).status == Status.SUCCEEDED
    assert len(sandbox.charges_of(order.order_id)) == 1
    assert facts_of(order) == ["started", "succeeded"]


def test_a_timeout_before_the_money_was_taken_ends_as_not_paid(sandbox) -> None:
    order = make_order()
    sandbox.fault("timeout_before", operation="confirm_intent")

    assert pay(order, sandbox.gateway()).status == Status.PENDING
    settle(sandbox.gateway())

    assert (last(order).status, last(order).failure_code) == (Status.FAILED, "not_confirmed")
    assert sandbox.charges_of(order.order_id) == []
    assert pay(order, sandbox.gateway()).status == Status.SUCCEEDED
    assert len(sandbox.charges_of(order.order_id)) == 1


@pytest.mark.parametrize("kind", ["timeout_before", "timeout_after", "error_before", "error_after"])
@pytest.mark.parametrize("operation", ["create_method", "create_intent", "confirm_intent"])
def test_whatever_call_loses_its_answer_there_is_at_most_one_charge(
    sandbox, kind: str, operation: str
) -> None:
    order = make_order()
    sandbox.fault(kind, operation=operation)

    pay(order, sandbox.gateway())
    settle(sandbox.gateway())

    charges = len(sandbox.charges_of(order.order_id))
    assert last(order).status == (Status.SUCCEEDED if charges else Status.FAILED)
    assert charges == (1 if operation == "confirm_intent" and kind.endswith("after") else 0)
    if not charges:
        assert pay(order, sandbox.gateway()).status == Status.SUCCEEDED


def test_a_charge_that_is_still_on_its_way_cannot_arrive_after_the_attempt_was_given_up(
    sandbox,
) -> None:
    """The request outlives its client: it is carried out only after the settler has cancelled."""
    order = make_order()
    sandbox.fault("delay", operation="confirm_intent", seconds=1.5)
    attempt = pay(order, sandbox.gateway(timeout=(2.0, 0.3)))
    assert attempt.status == Status.PENDING

    settle(sandbox.gateway())

    assert last(order).status == Status.FAILED
    eventually(lambda: f"{attempt.intent_id}/confirm" in sandbox.text())
    assert sandbox.charges_of(order.order_id) == []


def test_an_intent_whose_id_was_lost_is_found_by_its_key_and_cancelled(sandbox) -> None:
    order = make_order()
    sandbox.fault("timeout_after", operation="create_intent")
    pay(order, sandbox.gateway())
    assert last(order).intent_id == ""

    settle(sandbox.gateway())

    intent = sandbox.client().payment_intents.retrieve(last(order).intent_id)
    assert (intent.status, intent.metadata["order_id"]) == ("canceled", order.order_id)
    assert last(order).status == Status.FAILED


@pytest.mark.parametrize(
    "trouble", [KeyReused("used"), ProviderUnsure("500"), ProviderRefused("no", "No.")]
)
def test_an_attempt_without_an_intent_is_given_up_even_if_the_provider_does_not_help(
    fake, trouble: Exception
) -> None:
    order = make_order()
    fake.answers["create_intent"] = [ProviderUnsure("timeout"), trouble]
    pay(order, fake)

    settle(fake)

    assert (last(order).status, last(order).failure_code) == (Status.FAILED, "not_confirmed")
    assert fake.charges == []


def test_an_attempt_that_was_charged_since_the_settler_read_it_is_not_given_up(fake) -> None:
    order = make_order()
    fake.answers["create_intent"] = [ProviderUnsure("timeout")]
    pay(order, fake)
    read_too_early = last(order)
    fake.answers["confirm_intent"] = [("after", ProviderUnsure("the answer got lost"))]
    pay(order, fake)
    assert (read_too_early.intent_id, len(fake.charges)) == ("", 1)

    fake.answers["create_intent"] = [ProviderUnsure("500")]
    services.settle_attempt(attempt=read_too_early, gateway=fake, clock=lambda: MUCH_LATER)

    assert last(order).status == Status.PENDING
    settle(fake, MUCH_LATER + timedelta(minutes=2))
    assert last(order).status == Status.SUCCEEDED
    assert facts_of(order) == ["started", "succeeded"]


def test_an_outage_of_the_provider_is_waited_for_with_growing_pauses(fake) -> None:
    order = make_order()
    fake.answers["confirm_intent"] = [("after", ProviderUnsure("timeout"))]
    pay(order, fake)
    pauses = []

    for tries in range(8):
        now = last(order).settle_at
        fake.answers["retrieve_intent"] = [ProviderUnsure(f"away {tries}")]
        assert settle(fake, now)
        assert not settle(fake, now)
        pauses.append((last(order).settle_at - now).total_seconds())
    settle(fake, last(order).settle_at)

    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert (last(order).status, last(order).settle_at) == (Status.SUCCEEDED, None)
    assert facts_of(order) == ["started", "succeeded"]


def test_a_bank_that_is_still_deciding_is_waited_for(fake) -> None:
    order = make_order()
    fake.answers["confirm_intent"] = [ProviderUnsure("timeout")]
    attempt = pay(order, fake)
    fake.put_status(attempt.intent_id, "processing")

    settle(fake)
    assert last(order).status == Status.PENDING
    fake.put_status(attempt.intent_id, "succeeded")
    settle(fake, MUCH_LATER + timedelta(hours=1))

    assert last(order).status == Status.SUCCEEDED


def test_a_decline_whose_answer_was_lost_is_told_afterwards(sandbox) -> None:
    order = make_order()
    sandbox.fault("timeout_after", operation="confirm_intent")

    pay(order, sandbox.gateway(), "tok_chargeDeclinedInsufficientFunds")
    settle(sandbox.gateway())

    assert (last(order).status, last(order).failure_code) == (Status.FAILED, "insufficient_funds")


def test_an_attempt_is_settled_only_when_it_is_due(fake) -> None:
    order = make_order()
    fake.answers["confirm_intent"] = [ProviderUnsure("timeout")]
    pay(order, fake)

    assert not settle(fake, NOW)
    assert settle(fake, NOW + timedelta(seconds=2))


def test_an_attempt_that_another_settler_took_is_left_to_it(fake) -> None:
    order = make_order()
    fake.answers["confirm_intent"] = [ProviderUnsure("timeout")]
    pay(order, fake)
    stale = last(order)
    PaymentAttempt.objects.filter(pk=stale.pk).update(settle_at=MUCH_LATER)
    fake.calls.clear()

    services.settle_attempt(attempt=stale, gateway=fake, clock=lambda: MUCH_LATER)

    assert fake.calls == []


def test_the_loop_waits_while_the_database_is_away_and_stops_when_told(fake) -> None:
    rounds = []

    class Flaky(Settler):
        def run_once(self) -> bool:
            rounds.append(len(rounds))
            if len(rounds) == 1:
                raise DatabaseError("away")
            if len(rounds) == 3:
                self.stop()
            return len(rounds) == 2

    alive: list[int] = []
    Flaky(fake, alive=lambda: alive.append(1)).run()

    assert rounds == [0, 1, 2]
    assert len(alive) == 3


def test_the_loop_is_ready_unless_the_database_is_away(fake, monkeypatch) -> None:
    monkeypatch.setattr(monitoring, "_pulse", None)
    pulse = monitoring.liveness()
    troubles = []

    class Flaky(Settler):
        def run_once(self) -> bool:
            troubles.append(pulse.trouble)
            if len(troubles) == 2:
                raise DatabaseError("nobody answers")
            if len(troubles) == 4:
                self.stop()
            return True

    Flaky(fake).run()

    began, worked, away, back = troubles
    assert began == "It has not begun."
    assert (worked, back) == ("", "")
    assert "nobody answers" in away


def test_a_settler_that_is_stopped_ends_after_the_attempt_in_hand_and_not_after_all(fake) -> None:
    orders = [make_order(), make_order()]
    for order in orders:
        fake.answers["confirm_intent"] = [ProviderUnsure("timeout")]
        pay(order, fake)
    told = threading.Event()
    settler = Settler(fake, clock=lambda: MUCH_LATER, alive=told.set)
    settler._stopped = told

    settler.run_once()

    assert sorted(last(order).status for order in orders) == [Status.FAILED, Status.PENDING]


def test_some_are_settled_at_the_same_time_and_never_more_than_allowed(fake) -> None:
    orders = [make_order() for _ in range(6)]
    for order in orders:
        fake.answers["confirm_intent"] = [ProviderUnsure("timeout")]
        pay(order, fake)
    together = threading.Barrier(3)
    asking, most = [0], [0]
    lock = threading.Lock()

    class Slow(type(fake)):
        """Answers when three have asked: one after the other, nobody would ever be answered."""

        def cancel_intent(self, *, intent_id: str) -> Any:
            with lock:
                asking[0] += 1
                most[0] = max(most[0], asking[0])
            together.wait(timeout=60)
            with lock:
                asking[0] -= 1
            return super().cancel_intent(intent_id=intent_id)

    fake.__class__ = Slow
    alive: list[int] = []
    settler = Settler(fake, at_once=3, clock=lambda: MUCH_LATER, alive=lambda: alive.append(1))

    settler.run_once()

    assert {last(order).status for order in orders} == {Status.FAILED}
    assert (most[0], len(alive)) == (3, 6)


def test_an_error_of_the_database_ends_the_round_also_in_a_thread(fake) -> None:
    for _ in range(2):
        fake.answers["confirm_intent"] = [ProviderUnsure("timeout")]
        pay(make_order(), fake)
    fake.answers["retrieve_intent"] = [DatabaseError("away")]

    with pytest.raises(DatabaseError, match="away"):
        Settler(fake, at_once=2, clock=lambda: MUCH_LATER).run_once()


def test_the_command_settles_and_ends_on_sigterm(sandbox, tmp_path) -> None:
    order = make_order(now=timezone.now())
    sandbox.fault("timeout_after", operation="confirm_intent")
    pay(order, sandbox.gateway(), clock=timezone.now)
    alive = tmp_path / "alive"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "manage.py", "settle_payments"],
        cwd=ROOT,
        env=os.environ
        | {
            "DJANGO_SETTINGS_MODULE": "ticketing.settings.payments",
            "MONGODB_DATABASE": connection.settings_dict["NAME"],
            "STRIPE_API_BASE": sandbox.url,
            "LIVENESS_FILE": str(alive),
        },
    )

    eventually(lambda: last(order).status == Status.SUCCEEDED)
    assert alive.exists()
    process.send_signal(signal.SIGTERM)

    assert process.wait(timeout=20) == 0
    assert facts_of(order) == ["started", "succeeded"]


def test_what_is_due_is_found_by_an_index() -> None:
    make_order()
    due = PaymentAttempt.objects.filter(settle_at__lte=NOW).order_by("settle_at")
    stored = StripeEvent.objects.filter(state="stored").order_by("received_at")

    for plan in (due[:50].explain(), stored[:50].explain()):
        assert "IXSCAN" in plan
        assert "COLLSCAN" not in plan
        assert "'SORT'" not in plan


def test_what_the_settler_publishes_belongs_to_the_request_that_began_it(fake) -> None:
    order = make_order()
    fake.answers["confirm_intent"] = [("after", ProviderUnsure("timeout"))]
    with traced(Trace(correlation_id="request-1")):
        pay(order, fake)

    settle(fake)

    events = OutboxEvent.objects.filter(aggregate_id=order.order_id)
    assert len(events) == 3
    assert {json.loads(event.headers)["ce_correlationid"] for event in events} == {"request-1"}
