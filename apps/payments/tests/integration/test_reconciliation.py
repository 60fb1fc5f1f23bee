"""Each difference between the sides is planted, found, and mended or told; and nothing else is."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
import uuid6
from confluent_kafka.admin import NewTopic
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from prometheus_client import REGISTRY

from apps.outbox import kafka
from apps.outbox.codec import Codec
from apps.outbox.registry import Registry, avro, subject_of
from apps.outbox.schemas import local_schemas
from apps.payments import gateway, services
from apps.payments.models import LedgerTransaction, Payment, PaymentAttempt, Refund
from apps.payments.reconciliation import metrics, sides
from apps.payments.reconciliation.difference import Kind
from apps.payments.reconciliation.regularly import Regularly
from apps.payments.reconciliation.running import Reconciler
from apps.payments.tests.factories import BUYER, order_created, payment_of
from apps.payments.tests.steps import last, settle

pytestmark = pytest.mark.django_db(transaction=True)

Status = PaymentAttempt.Status
HOUR = timedelta(hours=1)
RECORDS = (
    "ticketing.orders.OrderAwaitingPayment",
    "ticketing.orders.OrderCancelled",
    "ticketing.orders.OrderCompleted",
    "ticketing.tickets.TicketUpdated",
)


class Topics:
    """The topics of other services, of this module's own."""

    def __init__(self) -> None:
        registry = Registry.from_settings()
        for name in RECORDS:
            schema, topic = local_schemas()[name], name.rpartition(".")[0]
            registry.client.register_schema(subject_of(topic, name), avro(schema))
        self.codec = Codec(registry)
        self.sender = kafka.Sender()
        self._admin = kafka.admin()
        self.names = {}
        for topic in (sides.OrderFact.topic, sides.TICKETS):
            name = f"test.{uuid6.uuid7().hex}"
            self._admin.create_topics([NewTopic(name, 1, 1)])[name].result(30)
            self.names[topic] = name

    def close(self) -> None:
        self.sender.close()
        self.codec.close()
        for gone in self._admin.delete_topics([*self.names.values()]).values():
            gone.result(30)


class Marketplace:
    """The sides around payments, as far as they are about the orders of one test."""

    def __init__(self, sandbox: Any, topics: Topics) -> None:
        self.sandbox = sandbox
        self.gateway = sandbox.gateway()
        self.began = timezone.now().replace(microsecond=0)
        self._topics = topics
        self.mine: set[str] = set()

    def tell(
        self, topic: str, kind: str, key: str, at: datetime | None = None, **fields: Any
    ) -> None:
        """Put what another service says on its topic."""
        payload = json.dumps(fields).encode()
        at = at or timezone.now() - HOUR
        headers = (("ce_time", f"{at.isoformat(timespec='milliseconds')[:23]}Z".encode()),)
        value = self._topics.codec.encode(topic, f"{topic}.{kind}", payload)
        self._topics.sender.send_one(self._topics.names[topic], key.encode(), value, headers)

    def spoil(self, topic: str) -> None:
        """Put a record on a topic that is no event."""
        self._topics.sender.send_one(self._topics.names[topic], b"key", b"\x00\x7f\xff\xff\xff", ())

    def tell_order(self, order: Any, status: str, version: int = 2, **more: Any) -> None:
        kind = {"complete": "OrderCompleted", "cancelled": "OrderCancelled"}.get(
            status, "OrderAwaitingPayment"
        )
        extra = {"reason": "expired"} if kind == "OrderCancelled" else {}
        extra |= {"payment_id": "p"} if kind == "OrderCompleted" else {}
        fields = {
            **{name: value for name, value in vars(order).items() if name != "expires_at"},
            "expires_at": int(order.expires_at.timestamp() * 1000),
            "status": status,
            "version": version,
            "ticket_version": 1,
            "seller_id": "seller-1",
            **extra,
        }
        self.tell("ticketing.orders", kind, order.order_id, **fields | more)

    def tell_ticket(self, order: Any, holder: str | None, version: int = 2) -> None:
        self.tell(
            "ticketing.tickets",
            "TicketUpdated",
            order.ticket_id,
            ticket_id=order.ticket_id,
            version=version,
            title=order.ticket_title,
            price_cents=order.price_cents,
            currency=order.currency,
            seller_id="seller-1",
            order_id=holder,
            is_withdrawn=False,
        )

    def order(self, **changes: Any) -> Any:
        order = self.unheard_of(**changes)
        services.record_order(order=order, now=timezone.now())
        return order

    def unheard_of(self, **changes: Any) -> Any:
        expires_at = timezone.now() + timedelta(minutes=15)
        fields = {"ticket_id": uuid6.uuid7().hex, "expires_at": expires_at} | changes
        order = order_created(**fields)
        self.mine.add(order.order_id)
        return order

    def pay(self, order: Any, method: str = "tok_visa") -> PaymentAttempt:
        return services.pay_order(
            order_id=order.order_id, buyer_id=BUYER, method=method, gateway=self.gateway
        )

    def bought(self, **changes: Any) -> Any:
        """An order that all sides agree about: paid, complete, its ticket marked as its."""
        order = self.order(**changes)
        self.pay(order)
        self.tell_order(order, "complete")
        self.tell_ticket(order, order.order_id)
        return order

    def reconciler(self, after: timedelta = HOUR) -> Reconciler:
        later = timezone.now() + after
        return Reconciler(gateway=self.gateway, clock=lambda: later)

    def differences(
        self, *, whole: bool = False, after: timedelta = HOUR
    ) -> list[tuple[Kind, str]]:
        found = self.reconciler(after).run(None if whole else self.began).differences
        return sorted((each.kind, each.order_id) for each in found if each.order_id in self.mine)

    def repaired(self) -> list[tuple[Kind, str]]:
        """What is left when the repair is no longer so new that it is left alone."""
        reconciler = self.reconciler()
        reconciler.repair(reconciler.run(self.began))
        return self.differences(after=2 * HOUR)


@pytest.fixture(scope="module")
def topics():
    topics = Topics()
    yield topics
    topics.close()


@pytest.fixture
def market(sandbox, topics, monkeypatch):
    real = sides.read_records
    monkeypatch.setattr(
        sides, "read_records", lambda topic, since: real(topics.names[topic], since)
    )
    return Marketplace(sandbox, topics)


def forget(attempt: PaymentAttempt, **fields: Any) -> None:
    """Undo what was written down of an attempt, as a restored backup would."""
    PaymentAttempt.objects.filter(pk=attempt.pk).update(**fields)


def forget_payment(attempt: PaymentAttempt) -> None:
    forget(attempt, status=Status.PENDING, decided_at=None, settle_at=None)
    Payment.objects.filter(pk=attempt.order_id).update(
        state=Payment.State.OPEN, paid_payment_id="", active_payment_id=str(attempt.pk)
    )
    LedgerTransaction.objects.filter(payment_id=str(attempt.pk)).delete()


def test_a_normal_life_shows_no_difference(market) -> None:
    market.bought()
    declined = market.order()
    with pytest.raises(services.PaymentDeclined):
        market.pay(declined, "tok_chargeDeclined")
    market.tell_order(declined, "cancelled")
    market.tell_ticket(declined, None)
    refunded = market.bought()
    services.request_refund(
        payment_id=str(last(refunded).pk), reason="By staff.", now=timezone.now()
    )
    settle(market.gateway, timezone.now())
    market.tell_order(refunded, "cancelled", 3)
    market.tell_ticket(refunded, None, 3)

    assert market.differences() == []


def test_a_record_that_is_no_event_stops_no_comparison(market) -> None:
    market.bought()
    for topic in ("ticketing.orders", "ticketing.tickets"):
        market.spoil(topic)
    unheard_of = market.unheard_of()
    market.tell_order(unheard_of, "awaiting_payment")

    assert market.differences() == [(Kind.ORDER_UNKNOWN, unheard_of.order_id)]


def test_what_moves_is_left_alone(market) -> None:
    order = market.order()
    market.pay(order)
    market.tell_order(order, "awaiting_payment", at=timezone.now())

    found = Reconciler(gateway=market.gateway).run(market.began)

    assert order.order_id not in {each.order_id for each in found.differences}
    assert market.differences() == [(Kind.PAID_ORDER_NOT_COMPLETE, order.order_id)]


@pytest.mark.parametrize("intent_is_known", [True, False])
def test_a_charge_that_nobody_wrote_down_is_recorded(market, *, intent_is_known: bool) -> None:
    order = market.bought()
    attempt = last(order)
    forget_payment(attempt)
    if not intent_is_known:
        forget(attempt, intent_id="")

    found = market.differences()

    assert (Kind.CHARGE_NOT_RECORDED, order.order_id) in found
    assert market.repaired() == []
    assert last(order).status == Status.SUCCEEDED
    assert payment_of(order).state == Payment.State.PAID


def test_a_charge_of_an_attempt_that_failed_here_is_recorded_too(market) -> None:
    order = market.bought()
    attempt = last(order)
    forget_payment(attempt)
    forget(attempt, status=Status.FAILED)
    Payment.objects.filter(pk=order.order_id).update(active_payment_id="")

    assert market.repaired() == []
    assert last(order).status == Status.SUCCEEDED


def test_a_charge_without_any_attempt_is_told(market) -> None:
    order = market.bought()
    attempt = last(order)
    forget_payment(attempt)
    attempt.delete()
    Payment.objects.filter(pk=order.order_id).update(active_payment_id="")

    left = [
        (Kind.COMPLETE_ORDER_NOT_PAID, order.order_id),
        (Kind.UNKNOWN_CHARGE, order.order_id),
    ]
    assert market.differences() == left
    assert market.repaired() == left


def test_a_payment_that_the_provider_does_not_have_is_told(market) -> None:
    order = market.bought()
    unpaid = market.sandbox.client().payment_intents.create(
        {"amount": 1250, "currency": "usd", "metadata": {"order_id": order.order_id}}
    )
    forget(last(order), intent_id=unpaid.id)

    kinds = {kind for kind, _ in market.differences()}

    assert kinds == {Kind.CHARGE_NOT_AT_PROVIDER, Kind.UNKNOWN_CHARGE}


def test_another_amount_is_told(market) -> None:
    order = market.bought()
    forget(last(order), amount_cents=1000)

    assert (Kind.AMOUNT_DIFFERS, order.order_id) in market.differences()


def test_other_money_than_the_price_is_recorded_and_told_until_it_goes_back(market) -> None:
    order = market.order()
    market.pay(order)
    attempt = last(order)
    forget_payment(attempt)
    forget(attempt, amount_cents=1000)
    Payment.objects.filter(pk=order.order_id).update(amount_cents=1000)
    market.tell_order(order, "awaiting_payment")

    assert (Kind.CHARGE_NOT_RECORDED, order.order_id) in market.differences()
    assert market.repaired() == [
        (Kind.AMOUNT_DIFFERS, order.order_id),
        (Kind.PAID_ORDER_NOT_COMPLETE, order.order_id),
    ]
    assert (last(order).amount_cents, payment_of(order).state) == (1250, Payment.State.OPEN)
    services.request_refund(payment_id=str(attempt.pk), reason="Not it.", now=timezone.now())
    settle(market.gateway, timezone.now() + HOUR)
    assert market.differences(after=2 * HOUR) == []


def test_two_charges_of_one_order_are_told(market) -> None:
    order = market.bought()
    first = last(order)
    Payment.objects.filter(pk=order.order_id).update(state=Payment.State.OPEN)
    market.pay(order)

    assert first.attempt == 1
    assert market.differences() == [(Kind.CHARGED_TWICE, order.order_id)]


def test_a_refund_given_by_hand_is_recorded(market) -> None:
    order = market.bought()
    market.sandbox.client().refunds.create({"payment_intent": last(order).intent_id, "amount": 250})

    assert market.differences() == [(Kind.REFUND_NOT_RECORDED, order.order_id)]
    assert market.repaired() == []
    assert last(order).refunded_cents == 250


def test_a_refund_that_the_provider_does_not_have_is_told(market, monkeypatch) -> None:
    order = market.bought()
    services.request_refund(
        payment_id=str(last(order).pk), reason="A part.", amount_cents=250, now=timezone.now()
    )
    settle(market.gateway, timezone.now())
    monkeypatch.setattr(type(market.gateway), "list_all_refunds", lambda *_, **__: iter(()))

    # Only who has read all can say that something is not there.
    assert market.differences() == []
    assert market.differences(whole=True) == [(Kind.REFUND_NOT_AT_PROVIDER, order.order_id)]


def test_a_refund_that_nobody_gives_is_given(market) -> None:
    order = market.bought()
    services.request_refund(
        payment_id=str(last(order).pk), reason="A part.", amount_cents=250, now=timezone.now()
    )
    forget(last(order), refund_at=None)

    assert market.differences() == [(Kind.REFUND_STUCK, order.order_id)]
    assert market.repaired() == []
    assert Refund.objects.get(order_id=order.order_id).state == Refund.State.SUCCEEDED


def test_a_dispute_of_which_no_webhook_told_is_recorded(market) -> None:
    order = market.order()
    market.pay(order, "tok_createDispute")
    market.tell_order(order, "complete")
    market.tell_ticket(order, order.order_id)

    assert market.differences() == [(Kind.DISPUTE_NOT_RECORDED, order.order_id)]
    assert market.repaired() == []
    assert last(order).disputed_cents == 1250


def test_an_attempt_that_nobody_settles_is_settled(market) -> None:
    order = market.order(expires_at=timezone.now() + timedelta(minutes=1))
    market.sandbox.fault("timeout_before", operation="confirm_intent")
    market.pay(order)
    forget(last(order), settle_at=None)

    assert market.differences() == [(Kind.ATTEMPT_STUCK, order.order_id)]
    assert market.repaired() == []
    assert last(order).status == Status.FAILED


def test_an_order_of_which_payments_has_not_heard_is_told(market) -> None:
    order = market.unheard_of()
    market.tell_order(order, "awaiting_payment")

    assert market.differences() == [(Kind.ORDER_UNKNOWN, order.order_id)]


def test_an_order_that_is_complete_without_money_is_told(market) -> None:
    order = market.order()
    market.tell_order(order, "complete")
    market.tell_ticket(order, order.order_id)

    assert market.differences() == [(Kind.COMPLETE_ORDER_NOT_PAID, order.order_id)]


def test_an_order_that_is_complete_although_the_bank_gave_the_money_back_is_told(market) -> None:
    order = market.order()
    market.pay(order, "tok_createDispute")
    market.tell_order(order, "complete")
    market.tell_ticket(order, order.order_id)
    client = market.sandbox.client()
    [dispute] = client.disputes.list({"payment_intent": last(order).intent_id}).data
    client.disputes.close(dispute.id)

    assert market.repaired() == [(Kind.COMPLETE_ORDER_NOT_PAID, order.order_id)]
    market.tell_order(order, "cancelled", 3)
    market.tell_ticket(order, None, 3)
    assert market.differences(after=2 * HOUR) == []


def test_a_cancelled_order_that_keeps_its_money_is_told(market) -> None:
    order = market.bought()
    market.tell_order(order, "cancelled", 3)

    assert market.differences() == [
        (Kind.PAID_ORDER_NOT_COMPLETE, order.order_id),
        (Kind.TICKET_HELD_FOR_NOTHING, order.order_id),
    ]


def test_a_ticket_that_two_orders_have_is_told(market) -> None:
    first = market.bought()
    second = market.order()
    market.pay(second)
    market.tell_order(second, "complete", ticket_id=first.ticket_id)

    assert {kind for kind, _ in market.differences()} == {Kind.TICKET_SOLD_TWICE}


def test_a_sold_ticket_that_is_free_for_others_is_told(market) -> None:
    order = market.order()
    market.pay(order)
    market.tell_order(order, "complete")
    market.tell_ticket(order, None)

    assert market.differences() == [(Kind.TICKET_NOT_HELD, order.order_id)]


def test_a_ledger_that_lacks_a_line_is_told(market) -> None:
    order = market.bought()
    LedgerTransaction.objects.filter(order_id=order.order_id).delete()

    assert {kind for kind, _ in market.differences()} == {Kind.LEDGER_DIFFERS}


def test_nothing_is_found_while_many_buyers_pay_and_get_money_back(market) -> None:
    """What is under way is no difference, however often one looks meanwhile."""
    orders = [market.order() for _ in range(12)]

    def live(order: Any) -> None:
        market.tell_order(order, "awaiting_payment", at=timezone.now())
        attempt = market.pay(order)
        services.request_refund(
            payment_id=str(attempt.pk), reason="By staff.", amount_cents=250, now=timezone.now()
        )
        settle(market.gateway, timezone.now())
        connection.close()

    looks = 0
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(live, order) for order in orders]
        while not all(each.done() for each in running) or looks < 1:
            found = Reconciler(gateway=market.gateway).run(market.began)
            assert {each.order_id for each in found.differences}.isdisjoint(market.mine)
            looks += 1
        for each in running:
            each.result()

    for order in orders:
        market.tell_order(order, "complete", 3)
        market.tell_ticket(order, order.order_id)
    assert market.differences() == []


def reconcile(market: Any, **options: Any) -> tuple[int, str]:
    """Return the command's exit status and what it printed."""
    out = StringIO()
    options |= {"since": market.began, "grace": 0.0, "stdout": out, "stderr": StringIO()}
    try:
        call_command("reconcile_payments", **options)
    except SystemExit as ended:
        return int(str(ended.code)), out.getvalue()
    return 0, out.getvalue()


@pytest.mark.usefixtures("stripe_provider")
def test_the_command_shows_mends_and_says_by_its_status(market) -> None:
    order = market.bought()
    forget_payment(last(order))

    status, text = reconcile(market)
    assert status == 1
    assert "charge_not_recorded" in text
    assert order.order_id in text
    status, text = reconcile(market, json=True)
    assert status == 1
    found = json.loads(text)["differences"]
    assert {
        (each["kind"], each["repairable"]) for each in found if each["order_id"] == order.order_id
    } == {("charge_not_recorded", True), ("complete_order_not_paid", False)}

    for _ in range(2):
        assert order.order_id not in reconcile(market, apply=True)[1]
    assert last(order).status == Status.SUCCEEDED


def test_a_provider_that_is_away_is_no_agreement(market, settings) -> None:
    settings.STRIPE_API_BASE = "http://127.0.0.1:9"
    gateway.provider.cache_clear()
    try:
        with pytest.raises(CommandError, match="provider does not answer") as caught:
            call_command("reconcile_payments", since=market.began, stderr=StringIO())
    finally:
        gateway.provider.cache_clear()
    assert caught.value.returncode == 2


@pytest.mark.parametrize("grace", ["soon", "-1", "nan"])
def test_a_grace_that_is_no_time_is_refused(grace: str) -> None:
    with pytest.raises(CommandError, match="grace"):
        call_command("reconcile_payments", f"--grace={grace}")


def gauge(kind: Kind) -> float | None:
    name = "payments_reconciliation_differences"
    return REGISTRY.get_sample_value(name, {"kind": kind.value})


def test_the_settlers_regular_look_tells_prometheus_and_changes_nothing(market) -> None:
    order = market.bought()
    regularly = Regularly(market.reconciler(), every=3600, back=timedelta(minutes=5))
    regularly.look()
    before = gauge(Kind.CHARGE_NOT_RECORDED)
    forget_payment(last(order))

    regularly.look()

    assert gauge(Kind.CHARGE_NOT_RECORDED) == before + 1
    assert last(order).is_pending
    told_at = REGISTRY.get_sample_value("payments_reconciliation_timestamp_seconds")
    assert time.time() - told_at < 60


def test_the_regular_look_leaves_the_figures_while_a_side_is_away(market, fake) -> None:
    metrics.differences.labels(Kind.CHARGED_TWICE.value).set(3)
    fake.answers["list_intents"] = [gateway.ProviderUnsure("no answer")]

    Regularly(Reconciler(gateway=fake), every=3600, back=HOUR).look()

    assert gauge(Kind.CHARGED_TWICE) == 3
