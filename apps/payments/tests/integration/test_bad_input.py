"""Whatever is refused is logged and counted with its reason, and changes nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
import stripe
import uuid6
from django.test import Client
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from apps.outbox.models import OutboxEvent
from apps.payments import services
from apps.payments.gateway import Intent
from apps.payments.management.settler import Settler
from apps.payments.metrics import BadInput
from apps.payments.models import Payment, PaymentAttempt, StripeEvent
from apps.payments.tests.factories import BUYER
from apps.payments.tests.fakes import FakeGateway
from apps.payments.tests.integration.test_pages import browser, choose, order_now
from apps.payments.tests.steps import last

pytestmark = pytest.mark.django_db(transaction=True)

HOOK = "/payments/webhook/"
NOBODY = str(uuid6.uuid7())
SUCCEEDED = "payment_intent.succeeded"
LATER = frozenset({"last_error", "settle_at", "settle_tries"})
"""What asking the provider again in a moment writes."""


@dataclass
class World:
    """An order whose payment is open, another buyer's, one that is paid, and one declined."""

    sandbox: Any
    secret: str
    mine: Any
    others: Any
    paid: Any
    declined: Any
    told: str
    at: datetime

    def post(self, path: str, body: dict[str, str], user_id: str = BUYER) -> int:
        client = browser(user_id)
        return int(client.post(path, body, content_type="application/json").status_code)

    def pay(self, order: Any) -> int:
        return self.post("/api/payments", {"token": "tok_visa", "orderId": order.order_id})

    def address(self, order: Any, step: str = "") -> str:
        return f"/payments/{order.order_id}/{step}"

    def tell(self, body: str, *, secret: str = "", age: int = 0) -> int:
        header = stripe.WebhookSignature.generate_signature_header(
            body, secret or self.secret, int(time.time()) - age
        )
        return self.send(body, {"Stripe-Signature": header})

    def send(self, body: str, headers: dict[str, str]) -> int:
        client = Client(enforce_csrf_checks=True)
        answer = client.post(HOOK, body, content_type="application/json", headers=headers)
        return int(answer.status_code)

    def hint(self, kind: str = SUCCEEDED, intent_id: str = "", payment_id: str = "") -> str:
        subject = {
            "object": "payment_intent" if kind.startswith("payment_intent") else "refund",
            "id": intent_id or "re_1",
            "payment_intent": intent_id,
            "metadata": {"payment_id": payment_id} if payment_id else {},
        }
        return json.dumps(
            {
                "id": f"evt_{uuid6.uuid7().hex}",
                "object": "event",
                "type": kind,
                "created": int(time.time()),
                "data": {"object": subject},
            }
        )

    def heed(self, *told: str) -> int:
        """Tell of something, and have it acted upon."""
        statuses = {self.tell(each) for each in told}
        Settler(self.sandbox.gateway(), clock=lambda: self.at).run_once()
        [status] = statuses
        return status

    def intent_of_nobody(self) -> str:
        """A payment at the provider that another system has taken."""
        made = self.sandbox.client().payment_intents.create(
            {
                "amount": self.declined.price_cents,
                "currency": "usd",
                "payment_method": "pm_card_visa",
                "confirm": True,
                "return_url": "https://elsewhere.example/",
                "metadata": {"payment_id": NOBODY},
            }
        )
        return str(made.id)

    def find_paid(self, **otherwise: Any) -> int:
        """Ask a provider that has other money for the open attempt than was asked for."""
        attempt = last(self.mine)
        gateway = FakeGateway()
        facts = {
            "id": attempt.intent_id,
            "status": "succeeded",
            "amount_cents": attempt.amount_cents,
            "currency": attempt.currency,
            "payment_id": str(attempt.pk),
        }
        gateway.intents[attempt.intent_id] = Intent(**(facts | otherwise))
        services.settle_attempt(attempt=attempt, gateway=gateway)
        return 0

    def status_of(self, intent_id: str) -> str:
        intents = self.sandbox.client().payment_intents
        return str(intents.retrieve(intent_id).status) if intent_id else ""

    def state(self, besides: frozenset[str]) -> dict[str, Any]:
        """All that is known of the orders, here and at the provider."""
        ids = [order.order_id for order in (self.mine, self.others, self.paid, self.declined)]
        attempts = PaymentAttempt.objects.filter(order_id__in=ids).order_by("pk").values()
        return {
            "payments": list(Payment.objects.filter(pk__in=ids).order_by("pk").values()),
            "attempts": [
                {name: value for name, value in row.items() if name not in besides}
                for row in attempts
            ],
            "events": OutboxEvent.objects.filter(aggregate_id__in=ids).count(),
            "charges": [len(self.sandbox.charges_of(each)) for each in ids],
            "intents": [self.status_of(row["intent_id"]) for row in attempts],
        }


@pytest.fixture
def world(stripe_provider, sandbox, settings) -> World:
    mine, others = order_now(), order_now(buyer_id="somebody-else")
    paid, declined = order_now(), order_now()
    choose(paid)
    choose(declined, "tok_chargeDeclined")
    PaymentAttempt.objects.filter(order_id=declined.order_id).update(intent_id="")
    for order in (mine, others):
        sandbox.fault("timeout_before", operation="confirm_intent")
        choose(order, client=browser(order.buyer_id))
        assert last(order).is_pending
    at = last(mine).started_at
    world = World(
        sandbox, settings.STRIPE_WEBHOOK_SECRET, mine, others, paid, declined, told="", at=at
    )
    world.told = world.hint(SUCCEEDED, last(paid).intent_id, str(last(paid).pk))
    assert world.heed(world.told) == 200
    return world


@dataclass(frozen=True)
class Case:
    reason: BadInput
    act: Callable[[World], int]
    status: int
    besides: frozenset[str] = frozenset()
    keeps: bool = False
    """Whether the webhook is kept, so that a person may read it."""


CASES = {
    "an unsigned webhook": Case(
        BadInput.WEBHOOK_UNSIGNED,
        lambda w: w.send(w.hint(intent_id=last(w.mine).intent_id), {}),
        400,
    ),
    "a webhook that is wrongly signed": Case(
        BadInput.WEBHOOK_WRONGLY_SIGNED,
        lambda w: w.tell(w.hint(intent_id=last(w.mine).intent_id), secret="whsec_forged"),
        400,
    ),
    "a webhook with nonsense for a signature": Case(
        BadInput.WEBHOOK_WRONGLY_SIGNED, lambda w: w.send(w.told, {"Stripe-Signature": "v1=x"}), 400
    ),
    "a webhook that was signed long ago": Case(
        BadInput.WEBHOOK_TOO_OLD,
        lambda w: w.tell(w.hint(intent_id=last(w.mine).intent_id), age=600),
        400,
    ),
    "a signed body that is no event": Case(
        BadInput.WEBHOOK_UNREADABLE, lambda w: w.tell('{"id": 1}'), 400
    ),
    "a webhook of a type that nobody reads": Case(
        BadInput.WEBHOOK_OF_UNKNOWN_TYPE,
        lambda w: w.heed(w.hint("payment_intent.created", last(w.mine).intent_id)),
        200,
        keeps=True,
    ),
    "a webhook about no payment of ours": Case(
        BadInput.WEBHOOK_OF_UNKNOWN_PAYMENT,
        lambda w: w.heed(w.hint(intent_id="pi_unknown", payment_id=NOBODY)),
        200,
        keeps=True,
    ),
    "a refund of no payment of ours": Case(
        BadInput.WEBHOOK_OF_UNKNOWN_PAYMENT,
        lambda w: w.heed(w.hint("refund.updated", "pi_unknown")),
        200,
        keeps=True,
    ),
    "a dispute of no payment of ours": Case(
        BadInput.WEBHOOK_OF_UNKNOWN_PAYMENT,
        lambda w: w.heed(w.hint("charge.dispute.created", "pi_unknown")),
        200,
        keeps=True,
    ),
    "a refund that names no payment": Case(
        BadInput.WEBHOOK_OF_UNKNOWN_PAYMENT,
        lambda w: w.heed(w.hint("refund.updated")),
        200,
        keeps=True,
    ),
    "a webhook that came before": Case(BadInput.WEBHOOK_REPLAYED, lambda w: w.heed(w.told), 200),
    "a webhook that pays an order with another's intent": Case(
        BadInput.INTENT_OF_ANOTHER_ORDER,
        lambda w: w.heed(
            w.hint(intent_id=last(w.others).intent_id, payment_id=str(last(w.mine).pk))
        ),
        200,
        keeps=True,
    ),
    "a webhook with a strange intent for an order that has its own": Case(
        BadInput.INTENT_OF_ANOTHER_ORDER,
        lambda w: w.heed(w.hint(intent_id=w.intent_of_nobody(), payment_id=str(last(w.mine).pk))),
        200,
        keeps=True,
    ),
    "a webhook with a strange intent for an attempt that failed without one": Case(
        BadInput.INTENT_OF_ANOTHER_ORDER,
        lambda w: w.heed(
            w.hint(intent_id=w.intent_of_nobody(), payment_id=str(last(w.declined).pk))
        ),
        200,
        keeps=True,
    ),
    "an attempt that remembers another order's intent": Case(
        BadInput.INTENT_OF_ANOTHER_ORDER, lambda w: w.find_paid(payment_id=NOBODY), 0, besides=LATER
    ),
    "a return from the bank with another order's intent": Case(
        BadInput.INTENT_OF_ANOTHER_ORDER,
        lambda w: int(
            browser()
            .get(w.address(w.mine, f"return/?payment_intent={last(w.others).intent_id}"))
            .status_code
        ),
        302,
    ),
    "another's order, by the API": Case(
        BadInput.ORDER_OF_ANOTHER_BUYER, lambda w: w.pay(w.others), 401
    ),
    "another's order, on its page": Case(
        BadInput.ORDER_OF_ANOTHER_BUYER,
        lambda w: int(browser().post(w.address(w.others), {"card": "tok_visa"}).status_code),
        404,
    ),
    "another's order, looked at": Case(
        BadInput.ORDER_OF_ANOTHER_BUYER,
        lambda w: int(browser().get(w.address(w.others)).status_code),
        404,
    ),
    "another's order, back from the bank": Case(
        BadInput.ORDER_OF_ANOTHER_BUYER,
        lambda w: int(browser().get(w.address(w.others, "return/")).status_code),
        404,
    ),
    "another card for another's order": Case(
        BadInput.ORDER_OF_ANOTHER_BUYER,
        lambda w: int(browser().post(w.address(w.others, "another-card/")).status_code),
        404,
    ),
    "a payment that is sent again": Case(BadInput.ORDER_PAID_ALREADY, lambda w: w.pay(w.paid), 400),
}


OTHER_MONEY: dict[BadInput, dict[str, Any]] = {
    BadInput.AMOUNT_MISMATCH: {"amount_cents": 1},
    BadInput.CURRENCY_MISMATCH: {"currency": "jpy"},
}
"""It is not refused, since the provider has it: it is recorded, and goes back."""


def counted(reason: BadInput) -> float:
    return REGISTRY.get_sample_value("payments_refused_total", {"reason": str(reason)}) or 0


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_refused_logged_and_counted_and_changes_nothing(world: World, name) -> None:
    case = CASES[name]
    before, kept, count = (
        world.state(case.besides),
        StripeEvent.objects.count(),
        counted(case.reason),
    )

    with capture_logs() as lines:
        status = case.act(world)

    assert status == case.status
    assert world.state(case.besides) == before
    assert StripeEvent.objects.count() == kept + case.keeps
    reasons = [line["reason"] for line in lines if line["event"] == "refused; nothing was changed"]
    assert reasons == [case.reason]
    assert counted(case.reason) == count + 1


def test_each_reason_has_its_case() -> None:
    assert {case.reason for case in CASES.values()} | {*OTHER_MONEY} == {*BadInput}


@pytest.mark.parametrize("reason", OTHER_MONEY)
def test_other_money_is_logged_and_counted_and_does_not_pay_the_order(
    world: World, reason: BadInput
) -> None:
    count = counted(reason)

    with capture_logs() as lines:
        world.find_paid(**OTHER_MONEY[reason])

    told = "other money was taken than was asked for"
    assert [line["reason"] for line in lines if line["event"] == told] == [reason]
    assert counted(reason) == count + 1
    assert not any(line["event"] == "refused; nothing was changed" for line in lines)
