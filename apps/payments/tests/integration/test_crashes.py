from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from apps.payments.models import PaymentAttempt
from apps.payments.tests.factories import (
    BUYER,
    make_order,
)
from apps.payments.tests.sandbox import ROOT
from apps.payments.tests.steps import facts_of, last, settle

pytestmark = pytest.mark.django_db(transaction=True)

Status = PaymentAttempt.Status


CRASH = """
import os, signal, sys
import django
django.setup()
from django.conf import settings
from apps.payments import services
from apps.payments.gateway import StripeGateway

step, order_id, buyer_id, api_base = sys.argv[1:]

class Mortal(StripeGateway):
    pass

def deadly(name):
    def call(self, **fields):
        if step == f"before {name}":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = getattr(StripeGateway, name)(self, **fields)
        if step == f"after {name}":
            os.kill(os.getpid(), signal.SIGKILL)
        return answer
    return call

for name in ("create_method", "create_intent", "confirm_intent"):
    setattr(Mortal, name, deadly(name))
gateway = Mortal(key=settings.STRIPE_KEY, api_base=api_base)
services.pay_order(order_id=order_id, buyer_id=buyer_id, method="tok_visa", gateway=gateway)
"""


@pytest.mark.parametrize(
    ("step", "charges"),
    [
        ("before create_method", 0),
        ("after create_method", 0),
        ("after create_intent", 0),
        ("before confirm_intent", 0),
        ("after confirm_intent", 1),
    ],
)
def test_a_process_killed_between_any_two_steps_leaves_a_payment_that_is_settled_once(
    sandbox, step: str, charges: int
) -> None:
    order = make_order(now=timezone.now())
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CRASH, step, order.order_id, BUYER, sandbox.url],
        cwd=ROOT,
        env=os.environ
        | {
            "DJANGO_SETTINGS_MODULE": "ticketing.settings.payments",
            "MONGODB_DATABASE": connection.settings_dict["NAME"],
        },
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert last(order).status == Status.PENDING

    for _ in range(2):
        settle(sandbox.gateway(), timezone.now() + timedelta(minutes=1))

    assert last(order).status == (Status.SUCCEEDED if charges else Status.FAILED)
    assert len(sandbox.charges_of(order.order_id)) == charges
    assert facts_of(order) == ["started", "succeeded" if charges else "failed"]
