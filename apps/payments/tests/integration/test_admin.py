"""What staff see of the money, and how they give some of it back."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import uuid6
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone

from apps.payments import services
from apps.payments.models import LedgerTransaction, PaymentAttempt, Refund
from apps.payments.tests.factories import make_order
from apps.payments.tests.integration.test_pages import browser
from apps.payments.tests.steps import last, pay, settle

pytestmark = pytest.mark.django_db(transaction=True)

ADMIN = "/payments/admin/payments"


@pytest.fixture
def attempt(fake: Any) -> PaymentAttempt:
    return pay(make_order(), fake)


@pytest.fixture
def staff() -> Client:
    return browser("staff", staff=True)


def form_of(attempt: PaymentAttempt) -> str:
    return f"{ADMIN}/payment/refund/{attempt.pk}/"


def press(client: Client, attempt: PaymentAttempt, amount: str, **more: str) -> Any:
    fields = {"amount": amount, "reason": "The first act was cut.", "refund_id": str(uuid6.uuid7())}
    return client.post(form_of(attempt), fields | more, follow=True)


def text(answer: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def test_a_refund_is_asked_for_confirmed_and_told(staff: Client, attempt: Any, fake: Any) -> None:
    page = f"{ADMIN}/payment/{attempt.order_id}/change/"
    assert form_of(attempt) in staff.get(page).content.decode()
    assert "$12.50 is left to give back" in text(staff.get(form_of(attempt)))

    asked = press(staff, attempt, "5.00")
    assert "$5.00 of $12.50 goes back to the buyer" in text(asked)
    assert not Refund.objects.exists()
    done = press(staff, attempt, "5.00", confirmed="1")

    assert "$5.00 goes back to the buyer. The provider is being asked." in text(done)
    refund = Refund.objects.get()
    assert (refund.amount_cents, refund.reason) == (500, "The first act was cut.")
    assert refund.requested_by == f"staff:{User.objects.get().email}"
    settle(fake, timezone.now())
    shown = text(staff.get(page))
    assert "given back" in shown
    assert "-$5.00" in shown


def test_the_button_pressed_many_times_gives_once(attempt: PaymentAttempt) -> None:
    refund_id = str(uuid6.uuid7())
    clients = [browser("staff", staff=True) for _ in range(4)]

    def click(client: Client) -> int:
        answer = press(client, attempt, "5.00", confirmed="1", refund_id=refund_id)
        connection.close()
        return answer.status_code

    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(click, clients))

    assert codes == [200] * 4
    assert Refund.objects.count() == 1


@pytest.mark.parametrize(
    ("amount", "why"),
    [
        ("12.51", "At most $12.50 is left to give."),
        ("0", "greater than or equal to 0.01"),
        ("-1", "greater than or equal to 0.01"),
        ("1.005", "no more than 2 decimal places"),
        ("all", "Enter a number."),
        ("", "This field is required."),
    ],
)
def test_an_impossible_amount_is_refused(
    staff: Client, attempt: PaymentAttempt, amount: str, why: str
) -> None:
    assert why in text(press(staff, attempt, amount, confirmed="1"))
    assert not Refund.objects.exists()


def test_a_refund_needs_a_reason(staff: Client, attempt: PaymentAttempt) -> None:
    press(staff, attempt, "5.00", reason=" ", confirmed="1")

    assert not Refund.objects.exists()


def test_what_is_promised_already_cannot_be_given_again(
    staff: Client, attempt: PaymentAttempt
) -> None:
    press(staff, attempt, "12.50", confirmed="1")

    assert "Nothing of this payment can be given back" in text(staff.get(form_of(attempt)))
    press(staff, attempt, "12.50", confirmed="1")
    assert Refund.objects.count() == 1


def test_only_staff_with_the_permission_give_money_back(
    staff: Client, attempt: PaymentAttempt
) -> None:
    staff.get(f"{ADMIN}/payment/")
    User.objects.update(is_superuser=False)

    assert press(staff, attempt, "5.00", confirmed="1").status_code == 403
    assert browser("buyer-1").get(form_of(attempt)).status_code in {302, 403}
    assert not Refund.objects.exists()


def test_a_refund_of_no_attempt_is_not_found(staff: Client) -> None:
    assert staff.get(f"{ADMIN}/payment/refund/{uuid6.uuid7()}/").status_code == 404


def test_everything_about_money_can_be_looked_at_and_nothing_changed(
    staff: Client, attempt: PaymentAttempt, fake: Any
) -> None:
    press(staff, attempt, "5.00", confirmed="1")
    settle(fake, timezone.now())
    for model, row in (
        ("refund", Refund.objects.get()),
        ("ledgertransaction", LedgerTransaction.objects.get(kind="refund")),
    ):
        assert staff.get(f"{ADMIN}/{model}/?q={attempt.order_id}").status_code == 200
        shown = staff.get(f"{ADMIN}/{model}/{row.pk}/change/")
        assert shown.status_code == 200
        assert 'name="_save"' not in shown.content.decode()
        assert staff.post(f"{ADMIN}/{model}/{row.pk}/delete/").status_code == 403
    assert staff.get(f"{ADMIN}/dispute/").status_code == 200


def test_the_ledger_shows_its_totals_and_what_does_not_fit(
    staff: Client, attempt: PaymentAttempt
) -> None:
    assert "+$12.50" in text(staff.get(f"{ADMIN}/ledgertransaction/"))
    assert "The ledger balances" in text(staff.get(f"{ADMIN}/ledgertransaction/check/"))

    PaymentAttempt.objects.filter(pk=attempt.pk).update(refunded_cents=1)
    LedgerTransaction.objects.update(lines=[{"account": "stripe_balance", "cents": 1250}])

    found = text(staff.get(f"{ADMIN}/ledgertransaction/check/"))
    assert "3 differences" in found
    assert "held_for_orders is 0, not -1250" in found
    assert len(services.check_ledger()) == 3
    assert last(attempt).refunded_cents == 1
