from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import stripe

from apps.payments.tests.sandbox import SandboxProcess, eventually

CARD = {"amount": 1250, "currency": "usd", "allowed_payment_method_types": ["card"]}


class Receiver(ThreadingHTTPServer):
    """What a merchant's webhook endpoint does: keeps what comes, and answers as it is told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Inbox)
        self.received: list[tuple[str, bytes]] = []
        self.answers: list[int] = []

    @property
    def types(self) -> list[str]:
        return [stripe.Event.construct_from(_json(body), "k").type for _, body in self.received]


class Inbox(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.answers.pop(0) if self.server.answers else 200
        if status == 200:
            self.server.received.append((self.headers["Stripe-Signature"], body))
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        pass


def states_of(sandbox: SandboxProcess) -> set[str]:
    return {delivery["state"] for delivery in sandbox.control("GET", "webhooks")}


def _json(body: bytes) -> dict[str, object]:
    return json.loads(body)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def told(receiver, tmp_path) -> Iterator[SandboxProcess]:
    process = SandboxProcess(
        tmp_path, webhook_url=f"http://127.0.0.1:{receiver.server_port}/webhook/"
    )
    yield process
    process.stop()


def pay(sandbox: SandboxProcess, card: str = "visa") -> None:
    sandbox.client().payment_intents.create(
        {**CARD, "confirm": True, "payment_method": f"pm_card_{card}"}
    )


def test_webhooks_are_signed_as_the_official_library_verifies_them(told, receiver) -> None:
    pay(told)
    eventually(lambda: len(receiver.received) == 3)

    events = [
        stripe.Webhook.construct_event(body, signature, told.secret)
        for signature, body in receiver.received
    ]

    assert [event.type for event in events] == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
    ]
    assert events[2].data.object.status == "succeeded"
    assert events[2].api_version == "2026-10-28.endive"
    assert told.client().events.retrieve(events[2].id).type == events[2].type
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(receiver.received[0][1], receiver.received[0][0], "other")


def test_declines_cancellations_and_refunds_are_told_too(told, receiver) -> None:
    client = told.client()
    with pytest.raises(stripe.CardError):
        pay(told, "chargeDeclined")
    client.payment_intents.cancel(client.payment_intents.create(CARD).id)
    paid = client.payment_intents.create(
        {**CARD, "confirm": True, "payment_method": "pm_card_visa"}
    )
    client.refunds.create({"payment_intent": paid.id})

    eventually(lambda: "charge.refunded" in receiver.types)
    assert {
        "charge.failed",
        "payment_intent.payment_failed",
        "payment_intent.canceled",
        "refund.created",
    } <= set(receiver.types)


def test_a_refused_webhook_is_delivered_again(told, receiver) -> None:
    receiver.answers = [500, 503, 404]

    pay(told)

    eventually(lambda: states_of(told) == {"delivered"})
    assert len(receiver.received) == 3
    assert max(delivery["attempts"] for delivery in told.control("GET", "webhooks")) >= 2


def test_webhooks_wait_for_a_receiver_that_is_down_and_survive_a_kill(tmp_path, receiver) -> None:
    url = f"http://127.0.0.1:{receiver.server_port}/webhook/"
    sandbox = SandboxProcess(tmp_path, webhook_url="http://127.0.0.1:9/webhook/")
    pay(sandbox)
    eventually(lambda: all(row["attempts"] for row in sandbox.control("GET", "webhooks")))
    assert "no answer" in sandbox.control("GET", "webhooks")[0]["last_answer"]

    sandbox.kill()
    sandbox.webhook_url = url
    sandbox.start()

    eventually(lambda: len(receiver.received) == 3)
    sandbox.stop()


def test_webhooks_can_be_dropped_doubled_and_reordered(told, receiver) -> None:
    told.fault("drop_webhook", operation="payment_intent.created")
    told.fault("double_webhook", operation="charge.succeeded")
    pay(told)
    eventually(lambda: len(receiver.received) == 3)
    assert sorted(receiver.types) == [
        "charge.succeeded",
        "charge.succeeded",
        "payment_intent.succeeded",
    ]

    receiver.received.clear()
    told.fault("reorder_webhook", operation="payment_intent.created", seconds=0.3)
    began = time.monotonic()
    pay(told)
    eventually(lambda: len(receiver.received) == 3)

    assert receiver.types[-1] == "payment_intent.created"
    assert time.monotonic() - began >= 0.3
