from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
import stripe

from apps.payments.tests.sandbox import KEY, ROOT, SECRET, SandboxProcess

KEYS = {"STRIPE_KEY": KEY, "STRIPE_WEBHOOK_SECRET": SECRET}
CARD = {"amount": 1250, "currency": "usd", "allowed_payment_method_types": ["card"]}


def test_kill_9_loses_no_payment_and_no_idempotency_key(tmp_path) -> None:
    sandbox = SandboxProcess(tmp_path)
    params = {**CARD, "confirm": True, "payment_method": "pm_card_visa"}
    paid = sandbox.client().payment_intents.create(params, {"idempotency_key": "k"})

    sandbox.kill()
    sandbox.start()

    again = sandbox.client().payment_intents.create(params, {"idempotency_key": "k"})
    assert again.id == paid.id
    assert len(sandbox.client().payment_intents.list().data) == 1
    sandbox.stop()


def test_kill_9_in_the_middle_of_many_payments_leaves_each_whole_or_absent(tmp_path) -> None:
    sandbox = SandboxProcess(tmp_path)
    params = {**CARD, "confirm": True, "payment_method": "pm_card_visa"}
    answered: list[str] = []

    def pay(number: int) -> None:
        try:
            sandbox.client().payment_intents.create(params, {"idempotency_key": f"many-{number}"})
        except stripe.APIConnectionError:
            return
        answered.append(str(number))
        if len(answered) == 20:
            sandbox.process.kill()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(pay, range(60)))
    sandbox.process.wait()
    sandbox.start()
    client = sandbox.client()
    for number in range(60):
        client.payment_intents.create(params, {"idempotency_key": f"many-{number}"})

    intents = list(client.payment_intents.list({"limit": 100}).auto_paging_iter())
    charges = list(client.charges.list({"limit": 100}).auto_paging_iter())
    assert len(answered) >= 20
    assert len(intents) == len(charges) == 60
    assert {charge.payment_intent for charge in charges} == {intent.id for intent in intents}
    sandbox.stop()


def test_the_page_shows_payments_to_people(tmp_path) -> None:
    sandbox = SandboxProcess(tmp_path)
    client = sandbox.client()

    def page() -> str:
        with urllib.request.urlopen(sandbox.url, timeout=10) as response:
            return response.read().decode()

    assert "No payments yet" in page()
    for card in ("visa", "chargeDeclined"):
        intent = client.payment_intents.create({**CARD, "metadata": {"order_id": "<b>o</b>"}})
        try:
            client.payment_intents.confirm(intent.id, {"payment_method": f"pm_card_{card}"})
        except stripe.CardError:
            continue
        client.refunds.create({"payment_intent": intent.id, "amount": 100})
    shown = page()

    assert "12.50 USD" in shown
    assert "declined: generic decline" in shown
    assert "partly refunded" in shown
    assert "&lt;b&gt;o&lt;/b&gt;" in shown
    sandbox.stop()


def test_controls_refuse_strangers_and_nonsense(sandbox) -> None:
    with urllib.request.urlopen(f"{sandbox.url}/_sandbox/health", timeout=10) as response:
        assert response.status == 200
    key = {"Authorization": f"Bearer {sandbox.key}"}
    for path, data, headers, status in (
        ("/_sandbox/faults", b"kind=decline", {}, 401),
        ("/_sandbox/faults", b"kind=explode", key, 400),
        ("/_sandbox/faults", b"kind=decline&times=x", key, 400),
        ("/_sandbox/faults", b"kind=decline&code=x", key, 400),
        ("/_sandbox/faults", b"{", key | {"Content-Type": "application/json"}, 400),
        ("/_sandbox/faults", b"[]", key | {"Content-Type": "application/json"}, 400),
        ("/_sandbox/nothing", None, key, 404),
        ("/nothing", None, key, 404),
    ):
        call = urllib.request.Request(f"{sandbox.url}{path}", data=data, headers=headers)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(call, timeout=10)
        caught.value.close()
        assert caught.value.code == status, path


def test_faults_are_counted_down_listed_and_cleared(sandbox) -> None:
    sandbox.fault("decline", times=2, operation="confirm_intent")
    sandbox.client().payment_intents.create(CARD)

    assert [fault["times"] for fault in sandbox.control("GET", "faults")] == [2]
    with pytest.raises(stripe.CardError):
        sandbox.client().payment_intents.create(
            {**CARD, "confirm": True, "payment_method": "pm_card_chargeDeclined"}
        )
    assert [fault["times"] for fault in sandbox.control("GET", "faults")] == [2]
    assert sandbox.control("DELETE", "faults") == []


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["--bind=nowhere"], {}, "--bind must look like"),
        (["--bind=127.0.0.1:0"], {"STRIPE_KEY": ""}, "STRIPE_KEY is not set"),
        (["--bind=192.0.2.1:1"], KEYS, "cannot listen on 192.0.2.1:1"),
    ],
)
def test_a_wrong_start_says_what_is_wrong(tmp_path, arguments, environment, words) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "deploy.sandbox", f"--data={tmp_path}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env=os.environ | environment,
    )

    assert result.returncode != 0
    assert words in result.stderr
