from __future__ import annotations

import json
import time
from typing import Any

import pytest
import stripe

from apps.payments import gateway


def signed(payload: str, secret: str, at: int | None = None) -> str:
    return stripe.WebhookSignature.generate_signature_header(payload, secret, at)


def event(**changes: Any) -> str:
    subject = {"object": "payment_intent", "id": "pi_1", "metadata": {"payment_id": "p-1"}}
    return json.dumps(
        {
            "id": "evt_1",
            "object": "event",
            "type": "payment_intent.succeeded",
            "created": 1_795_000_000,
            "data": {"object": subject},
            **changes,
        }
    )


def test_a_signed_webhook_is_read(settings) -> None:
    body = event()

    webhook = gateway.read_webhook(body.encode(), signed(body, settings.STRIPE_WEBHOOK_SECRET))

    assert (webhook.id, webhook.type) == ("evt_1", "payment_intent.succeeded")
    assert (webhook.intent_id, webhook.payment_id) == ("pi_1", "p-1")
    assert webhook.created_at.isoformat() == "2026-11-18T11:06:40+00:00"
    assert webhook.payload == body


@pytest.mark.parametrize(
    ("subject", "intent_id"),
    [
        ({"object": "charge", "id": "ch_1", "payment_intent": "pi_2", "metadata": None}, "pi_2"),
        ({"object": "charge", "id": "ch_1", "payment_intent": None}, ""),
        ({"object": "customer", "id": "cus_1"}, ""),
    ],
)
def test_webhooks_about_other_things_are_read_too(settings, subject, intent_id) -> None:
    body = event(data={"object": subject})

    webhook = gateway.read_webhook(body.encode(), signed(body, settings.STRIPE_WEBHOOK_SECRET))

    assert (webhook.intent_id, webhook.payment_id) == (intent_id, "")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "not json",
        "[]",
        "null",
        "{}",
        event(data=None),
        event(data={"object": []}),
        event(created="yesterday"),
        event(created=10**30),
        event(id="\ud800"),
        "[" * 20_000,
    ],
)
def test_a_signed_body_that_is_no_event_is_refused(settings, body: str) -> None:
    with pytest.raises(gateway.WebhookRefused):
        gateway.read_webhook(body.encode(), signed(body, settings.STRIPE_WEBHOOK_SECRET))


def test_a_body_that_is_no_text_is_refused() -> None:
    with pytest.raises(gateway.WebhookRefused):
        gateway.read_webhook(b"\xff\xfe", "t=1,v1=0")


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "nonsense",
        "t=,v1=",
        "t=abc,v1=00",
        "t=1,v1=ü",
        f"t={int(time.time())},v1=00",
        signed(event(), "another secret"),
    ],
)
def test_a_wrong_signature_is_refused(signature: str) -> None:
    with pytest.raises(gateway.WebhookRefused):
        gateway.read_webhook(event().encode(), signature)


def test_a_webhook_that_is_too_old_is_refused(settings) -> None:
    old = int(time.time()) - 301

    with pytest.raises(gateway.WebhookRefused):
        gateway.read_webhook(event().encode(), signed(event(), settings.STRIPE_WEBHOOK_SECRET, old))


def test_test_cards_are_never_offered_with_a_live_key(settings) -> None:
    settings.STRIPE_KEY = "sk_live_" + "x" * 40
    settings.STRIPE_API_BASE = gateway.STRIPE

    assert (gateway.takes_test_cards(), gateway.is_sandbox()) == (False, False)
