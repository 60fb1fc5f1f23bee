from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest
import uuid6
from django.db import connection

from apps.outbox.models import OutboxEvent
from apps.payments import services
from apps.payments.gateway import ProviderDispute, ProviderUnsure
from apps.payments.models import Dispute, LedgerTransaction, PaymentAttempt, Refund, StripeEvent
from apps.payments.tests.factories import NOW, make_order
from apps.payments.tests.steps import MUCH_LATER, facts_of, last, pay, settle

pytestmark = pytest.mark.django_db(transaction=True)

DISPUTE = "dp_1"


@pytest.fixture(autouse=True)
def _the_ledger_balances() -> Any:
    yield
    assert services.check_ledger() == []


def webhook(intent_id: str, dispute_id: str = DISPUTE) -> StripeEvent:
    body = {"data": {"object": {"id": dispute_id, "object": "dispute"}}}
    return StripeEvent(
        id="evt_1",
        type="charge.dispute.created",
        intent_id=intent_id,
        payload=orjson.dumps(body).decode(),
        created_at=NOW,
        received_at=NOW,
    )


def stands(fake: Any, attempt: PaymentAttempt, status: str, **more: Any) -> None:
    """Let the provider have the dispute so, tell of it, and let the settler look."""
    facts = {"amount_cents": 1250, "currency": "usd", "reason": "fraudulent"} | more
    fake.disputes[DISPUTE] = ProviderDispute(
        id=DISPUTE, status=status, **({"intent_id": attempt.intent_id} | facts)
    )
    event = webhook(attempt.intent_id)
    event.id = str(uuid6.uuid7())
    event.save(force_insert=True)
    settle(fake)


def balance() -> dict[str, int]:
    return {
        name: cents for name, cents in services.total_by_account().get("usd", {}).items() if cents
    }


def returned(order: Any, name: str) -> list[int]:
    """What each of the order's facts of that name says that the buyer has back in all."""
    events = OutboxEvent.objects.filter(aggregate_id=order.order_id, type__contains=f".{name}.")
    payloads = [orjson.loads(bytes(event.payload)) for event in events.order_by("version")]
    return [payload["returned_total_cents"] for payload in payloads]


def kinds() -> list[str]:
    return [entry.kind for entry in LedgerTransaction.objects.order_by("id")]


def test_a_dispute_that_is_won_leaves_the_money_where_it_was(fake) -> None:
    order = make_order()
    attempt = pay(order, fake)

    stands(fake, attempt, "needs_response")
    assert balance() == {"held_for_orders": -1250, "disputed": 1250}
    assert last(order).refundable_cents == 0
    stands(fake, attempt, "under_review")
    stands(fake, attempt, "won")

    assert balance() == {"stripe_balance": 1250, "held_for_orders": -1250}
    assert kinds() == ["charge", "dispute_opened", "dispute_won"]
    assert facts_of(order)[2:] == ["disputed"] * 3
    assert last(order).refundable_cents == 1250


def test_a_dispute_that_is_lost_has_given_the_money_back(fake) -> None:
    order = make_order()
    attempt = pay(order, fake)

    stands(fake, attempt, "needs_response")
    stands(fake, attempt, "lost")

    assert balance() == {}
    assert kinds() == ["charge", "dispute_opened", "dispute_lost"]
    assert returned(order, "disputed") == [0, 1250]
    with pytest.raises(services.RefundTooLarge):
        services.request_refund(
            payment_id=str(attempt.pk),
            reason="Why not.",
            now=NOW,
            amount_cents=1,
            requested_by="staff:ada@example.com",
        )


@pytest.mark.parametrize(
    ("status", "kind"), [("lost", ["dispute_lost"]), ("won", []), ("warning_closed", [])]
)
def test_a_dispute_that_is_heard_of_at_its_end_alone_is_right(
    fake, status: str, kind: list[str]
) -> None:
    order = make_order()

    stands(fake, pay(order, fake), status)

    assert kinds() == ["charge", *kind]


def test_an_inquiry_takes_no_money(fake) -> None:
    order = make_order()
    attempt = pay(order, fake)

    stands(fake, attempt, "warning_needs_response")

    assert balance() == {"stripe_balance": 1250, "held_for_orders": -1250}
    assert last(order).refundable_cents == 1250


def test_the_same_news_is_told_once(fake) -> None:
    order = make_order()
    attempt = pay(order, fake)

    for _ in range(3):
        stands(fake, attempt, "needs_response")

    assert facts_of(order).count("disputed") == 1


def test_settlers_that_meet_over_a_dispute_record_it_once(fake) -> None:
    order = make_order()
    attempt = pay(order, fake)
    found = ProviderDispute(
        id=DISPUTE,
        status="needs_response",
        amount_cents=1250,
        currency="usd",
        reason="fraudulent",
        intent_id=attempt.intent_id,
    )
    services.mirror_dispute(webhook(attempt.intent_id), NOW)

    def record(_number: int) -> None:
        services.record_dispute(found=found, now=NOW)
        connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(record, range(4)))

    assert facts_of(order).count("disputed") == 1


def test_a_refund_that_is_owed_waits_for_the_bank_and_goes_on_when_we_won(fake) -> None:
    order = make_order()
    attempt = pay(order, fake)
    stands(fake, attempt, "needs_response")

    services.request_refund(payment_id=str(attempt.pk), reason="Sold meanwhile.", now=NOW)
    settle(fake)
    assert fake.refunds == []
    assert "dispute" in Refund.objects.get(order_id=order.order_id).last_error
    stands(fake, attempt, "won")
    settle(fake)

    assert fake.refunds == [attempt.intent_id]


def test_a_refund_that_is_owed_comes_to_nothing_when_the_bank_has_taken_the_money(fake) -> None:
    order = make_order()
    attempt = pay(order, fake)
    stands(fake, attempt, "needs_response")
    services.request_refund(payment_id=str(attempt.pk), reason="Sold meanwhile.", now=NOW)

    stands(fake, attempt, "lost")
    settle(fake, MUCH_LATER)

    assert fake.refunds == []
    assert Refund.objects.get(order_id=order.order_id).state == Refund.State.FAILED
    assert facts_of(order)[-1] == "refund_failed"


def test_what_is_back_counts_refunds_and_lost_disputes(fake) -> None:
    order = make_order()
    attempt = pay(order, fake)
    stands(fake, attempt, "lost", amount_cents=1000)

    services.request_refund(
        payment_id=str(attempt.pk), reason="The rest.", amount_cents=250, now=NOW
    )
    settle(fake, MUCH_LATER)

    assert returned(order, "disputed") == [1000]
    assert returned(order, "refunded") == [1250]


def test_a_dispute_of_a_payment_that_is_not_ours_changes_nothing(fake) -> None:
    assert not services.mirror_dispute(webhook("pi_of_another_account"), NOW)

    assert not Dispute.objects.exists()


def test_a_webhook_that_lies_about_whose_dispute_it_is_changes_nothing(fake) -> None:
    order = make_order()
    attempt = pay(order, fake)

    stands(fake, attempt, "needs_response", intent_id="pi_other")

    assert "disputed" not in facts_of(order)
    assert Dispute.objects.get().last_error == "It is about another payment."


def test_an_answer_that_does_not_come_is_asked_for_again(fake) -> None:
    order = make_order()
    attempt = pay(order, fake)
    fake.answers["retrieve_dispute"] = [ProviderUnsure("timeout")]

    stands(fake, attempt, "needs_response")
    assert "disputed" not in facts_of(order)
    settle(fake, MUCH_LATER.replace(year=2027))

    [event] = OutboxEvent.objects.filter(type__contains="disputed")
    assert orjson.loads(bytes(event.payload))["dispute_status"] == "needs_response"
