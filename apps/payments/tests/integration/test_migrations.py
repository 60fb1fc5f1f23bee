"""Money that moved before there were refunds and a ledger has its records after the upgrade."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from apps.payments import services
from apps.payments.models import LedgerTransaction, PaymentAttempt, Refund
from apps.payments.tests.factories import NOW
from apps.payments.tests.fakes import FakeGateway
from apps.payments.tests.steps import settle

pytestmark = pytest.mark.django_db(transaction=True)

BEFORE = ("payments", "0001_initial")


def migrate(target: tuple[str, str]) -> Any:
    executor = MigrationExecutor(connection)
    executor.migrate([target])
    return executor.loader.project_state([target]).apps


@pytest.fixture
def models_before() -> Iterator[Any]:
    newest = MigrationExecutor(connection).loader.graph.leaf_nodes("payments")[0]
    yield migrate(BEFORE)
    migrate(newest)


def test_what_was_paid_and_refunded_before_has_its_records(models_before: Any) -> None:
    newest = MigrationExecutor(connection).loader.graph.leaf_nodes("payments")[0]
    for number, status in enumerate(["failed", "succeeded", "refund_due", "refunded"]):
        facts = {"order_id": f"order-{number}", "buyer_id": "b", "amount_cents": 1250}
        models_before.get_model("payments", "Payment").objects.create(
            **facts,
            currency="usd",
            ticket_id="t",
            ticket_title="T",
            expires_at=NOW,
            created_at=NOW,
            updated_at=NOW,
        )
        models_before.get_model("payments", "PaymentAttempt").objects.create(
            **facts,
            attempt=1,
            currency="usd",
            status=status,
            intent_id=f"pi_{number}",
            refund_id="re_3" if status == "refunded" else "",
            refund_reason="Sold meanwhile.",
            started_at=NOW,
            decided_at=NOW,
            refunded_at=NOW if status == "refunded" else None,
            settle_at=NOW if status == "refund_due" else None,
        )

    migrate(newest)

    assert services.check_ledger() == []
    assert LedgerTransaction.objects.count() == 4
    states = {refund.order_id: refund.state for refund in Refund.objects.all()}
    assert states == {"order-2": "due", "order-3": "succeeded"}
    statuses = PaymentAttempt.objects.order_by("order_id").values_list("status", flat=True)
    assert list(statuses) == ["failed", "succeeded", "succeeded", "refunded"]
    gateway = FakeGateway()
    settle(gateway)
    assert gateway.refunds == ["pi_2"]
    assert services.check_ledger() == []
