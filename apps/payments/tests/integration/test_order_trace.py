"""One order, one trace; and each fact names what caused it, however much later it comes."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
import uuid6

from apps.outbox.context import Trace, traced
from apps.outbox.models import OutboxEvent
from apps.payments import services
from apps.payments.gateway import ProviderDispute, ProviderUnsure
from apps.payments.models import Payment, StripeEvent
from apps.payments.tests.factories import NOW, order_created
from apps.payments.tests.steps import all_facts_of, close, last, pay, settle

pytestmark = pytest.mark.django_db(transaction=True)

ORDER = f"00-{'a' * 32}-{'1' * 16}-01"
REQUEST = f"00-{'b' * 32}-{'2' * 16}-01"


def hear_of_order() -> Any:
    order = order_created()
    with traced(Trace(traceparent=ORDER, correlation_id="reserve")):
        services.record_order(order=order, now=NOW)
    return order


def headers_of(order: Any) -> dict[str, dict[str, str]]:
    """The headers of the order's facts, with their own id, by the fact's name."""
    events = OutboxEvent.objects.filter(aggregate_id=order.order_id).order_by("version")
    return {
        event.type.split(".")[-2]: json.loads(event.headers) | {"id": str(event.pk)}
        for event in events
    }


def tell(order: Any, kind: str, **more: Any) -> None:
    """Let a webhook about the last attempt arrive."""
    StripeEvent.objects.create(
        id=f"evt_{uuid6.uuid7()}",
        type=kind,
        intent_id=last(order).intent_id,
        payment_id=str(last(order).pk),
        payload=orjson.dumps({"data": {"object": more}}).decode(),
        created_at=NOW,
        received_at=NOW,
    )


def in_one_trace(order: Any) -> bool:
    return {each["traceparent"][3:35] for each in headers_of(order).values()} == {"a" * 32}


def test_paying_is_in_the_orders_trace_and_keeps_its_requests_correlation(fake) -> None:
    order = hear_of_order()

    with traced(Trace(traceparent=REQUEST, correlation_id="pay")):
        pay(order, fake)

    started, succeeded = headers_of(order).values()
    assert in_one_trace(order)
    assert {started["ce_correlationid"], succeeded["ce_correlationid"]} == {"pay"}
    assert "ce_causationid" not in started
    assert succeeded["ce_causationid"] == started["id"]


def test_what_the_settler_finds_out_is_caused_by_the_doubt(fake) -> None:
    order = hear_of_order()
    fake.answers["confirm_intent"] = [("after", ProviderUnsure("timeout"))]
    with traced(Trace(traceparent=REQUEST, correlation_id="pay")):
        pay(order, fake)

    settle(fake)

    facts = headers_of(order)
    assert list(facts) == ["started", "unsure", "succeeded"]
    assert facts["unsure"]["ce_causationid"] == facts["started"]["id"]
    assert facts["succeeded"]["ce_causationid"] == facts["unsure"]["id"]
    assert facts["succeeded"]["ce_correlationid"] == "pay"
    assert in_one_trace(order)
    event = OutboxEvent.objects.get(aggregate_id=order.order_id, type__contains="succeeded")
    assert json.loads(bytes(event.payload))["tries"] == 1


def test_a_webhook_is_told_once_and_causes_what_it_leads_to(fake) -> None:
    order = hear_of_order()
    fake.answers["confirm_intent"] = [("after", ProviderUnsure("timeout"))]
    pay(order, fake)
    tell(order, "payment_intent.succeeded")

    settle(fake)
    settle(fake)

    facts = headers_of(order)
    assert list(facts) == ["started", "unsure", "notified", "succeeded"]
    assert facts["succeeded"]["ce_causationid"] == facts["notified"]["id"]
    assert in_one_trace(order)


def test_a_webhook_of_nobodys_payment_is_no_news(fake) -> None:
    order = hear_of_order()
    pay(order, fake)
    StripeEvent.objects.create(
        id="evt_other",
        type="payment_intent.succeeded",
        intent_id="pi_of_another_account",
        payload="{}",
        created_at=NOW,
        received_at=NOW,
    )

    settle(fake)

    assert all_facts_of(order) == ["started", "succeeded"]
    assert StripeEvent.objects.get(pk="evt_other").state == StripeEvent.State.PROCESSED


def test_the_end_of_an_attempt_after_expiry_is_caused_by_the_expiry(fake) -> None:
    order = hear_of_order()
    fake.answers["confirm_intent"] = [ProviderUnsure("timeout")]
    pay(order, fake)
    with traced(Trace(traceparent=ORDER, causation_id="expired-event")):
        close(order)

    settle(fake)

    facts = headers_of(order)
    assert list(facts) == ["started", "unsure", "failed", "closed"]
    assert facts["failed"]["ce_causationid"] == "expired-event"
    assert facts["closed"]["ce_causationid"] == "expired-event"
    assert in_one_trace(order)


def test_refunds_and_disputes_stay_in_the_orders_trace(fake) -> None:
    order = hear_of_order()
    attempt = pay(order, fake)
    with traced(Trace(traceparent=REQUEST, correlation_id="click")):
        services.request_refund(
            payment_id=str(attempt.pk),
            reason="The first act was cut.",
            requested_by="staff:ada@example.com",
            amount_cents=100,
            now=NOW,
        )
    settle(fake)
    fake.disputes["dp_1"] = ProviderDispute(
        id="dp_1",
        status="needs_response",
        intent_id=attempt.intent_id,
        amount_cents=1150,
        currency="usd",
        reason="fraudulent",
    )
    tell(order, "charge.dispute.created", id="dp_1")
    settle(fake)

    facts = headers_of(order)
    assert list(facts) == [
        *("started", "succeeded", "refund_requested", "refunded", "notified", "disputed"),
    ]
    assert "ce_causationid" not in facts["refund_requested"]
    assert facts["refunded"]["ce_causationid"] == facts["refund_requested"]["id"]
    assert facts["disputed"]["ce_causationid"] == facts["notified"]["id"]
    assert facts["refunded"]["ce_correlationid"] == "click"
    assert in_one_trace(order)


def test_being_led_to_the_bank_is_told_once(sandbox) -> None:
    order = hear_of_order()
    pay(order, sandbox.gateway(), "tok_authenticationRequired")
    pay(order, sandbox.gateway(), "tok_authenticationRequired")

    assert all_facts_of(order) == ["started", "action_required"]
    assert last(order).causation_id == headers_of(order)["action_required"]["id"]


def test_an_order_from_before_traces_were_kept_is_paid_in_the_requests(fake) -> None:
    order = hear_of_order()
    Payment.objects.filter(pk=order.order_id).update(traceparent="")

    with traced(Trace(traceparent=REQUEST)):
        pay(order, fake)

    assert {each["traceparent"] for each in headers_of(order).values()} == {REQUEST}
