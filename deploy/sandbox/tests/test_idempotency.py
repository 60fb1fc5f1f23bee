"""docs.stripe.com/api/idempotent_requests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import stripe

from deploy.sandbox.tests.calls import create


def test_the_same_key_and_parameters_replay_the_answer(sandbox) -> None:
    client = sandbox.client()

    first = create(client, options={"idempotency_key": "replay"})
    again = create(client, options={"idempotency_key": "replay"})

    assert again.id == first.id
    assert "Idempotent-Replayed" not in first.last_response.headers
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert (
        again.last_response.headers["Original-Request"] == first.last_response.headers["Request-Id"]
    )


def test_a_key_with_other_parameters_or_for_another_endpoint_is_an_error(sandbox) -> None:
    client = sandbox.client()
    intent = create(client, options={"idempotency_key": "reused"})

    with pytest.raises(stripe.IdempotencyError, match="same parameters"):
        create(client, amount=999, options={"idempotency_key": "reused"})
    with pytest.raises(stripe.IdempotencyError, match="same endpoint"):
        client.payment_intents.cancel(intent.id, None, {"idempotency_key": "reused"})


def test_a_decline_is_kept_under_its_key(sandbox) -> None:
    client = sandbox.client()
    intent = create(client)
    sandbox.fault("decline", operation="confirm_intent", code="insufficient_funds")

    for _ in range(2):
        with pytest.raises(stripe.CardError) as caught:
            client.payment_intents.confirm(
                intent.id, {"payment_method": "pm_card_visa"}, {"idempotency_key": "declined"}
            )
        assert caught.value.error.decline_code == "insufficient_funds"

    assert caught.value.headers["Idempotent-Replayed"] == "true"
    assert len(client.charges.list({"payment_intent": intent.id}).data) == 1


@pytest.mark.parametrize(("kind", "charges"), [("error_before", 0), ("error_after", 1)])
def test_a_500_is_kept_under_its_key(sandbox, kind: str, charges: int) -> None:
    client = sandbox.client()
    intent = create(client)
    sandbox.fault(kind, operation="confirm_intent")

    for _ in range(2):
        with pytest.raises(stripe.APIError) as caught:
            client.payment_intents.confirm(
                intent.id, {"payment_method": "pm_card_visa"}, {"idempotency_key": kind}
            )
        assert caught.value.http_status == 500

    assert len(client.charges.list({"payment_intent": intent.id}).data) == charges


def test_what_failed_validation_is_not_kept_under_its_key(sandbox) -> None:
    client = sandbox.client()

    with pytest.raises(stripe.InvalidRequestError):
        create(client, amount=-1, options={"idempotency_key": "corrected"})

    assert create(client, options={"idempotency_key": "corrected"}).amount == 1250


def test_a_key_in_use_is_a_conflict_and_is_charged_once(sandbox) -> None:
    client = sandbox.client()
    intent = create(client)
    sandbox.fault("delay", operation="confirm_intent", seconds=0.5)

    def confirm(_number: int) -> str:
        try:
            return client.payment_intents.confirm(
                intent.id, {"payment_method": "pm_card_visa"}, {"idempotency_key": "busy"}
            ).status
        except stripe.APIError as error:
            return f"{error.http_status} {error.error.code}"

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(confirm, range(8)))

    assert sorted(answers) == ["409 idempotency_key_in_use"] * 7 + ["succeeded"]
    assert confirm(0) == "succeeded"
    assert len(client.charges.list({"payment_intent": intent.id}).data) == 1


def test_lost_requests_do_nothing_and_lost_answers_did_everything(sandbox) -> None:
    client = sandbox.client()
    before, after = create(client), create(client)

    for intent, kind in ((before, "timeout_before"), (after, "timeout_after")):
        sandbox.fault(kind, operation="confirm_intent")
        with pytest.raises(stripe.APIConnectionError):
            client.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa"})

    assert client.payment_intents.retrieve(before.id).status == "requires_payment_method"
    assert client.payment_intents.retrieve(after.id).status == "succeeded"
