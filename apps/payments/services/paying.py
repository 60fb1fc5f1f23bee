"""Paying an order, in steps of which each may be the last before a crash.

No transaction waits for the provider. What an attempt is going to ask for is written down first,
then asked under keys that name the attempt, then the answer is recorded: so whoever finds an open
attempt (another click, another process, the settler) can go on with it, and all end at one charge.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.utils import timezone

from apps.core.errors import Conflict
from apps.outbox.context import current_trace
from apps.outbox.publish import publish
from apps.outbox.transactions import transactional
from apps.payments import selectors
from apps.payments.events import PaymentFact, PaymentFailed, PaymentStarted, PaymentSucceeded
from apps.payments.gateway import Gateway, Intent, KeyInUse, ProviderRefused, ProviderUnsure
from apps.payments.models import Payment, PaymentAttempt
from apps.payments.services.ledger import enter_charge
from apps.payments.services.writing import (
    closed,
    fact_of,
    publish_all,
    write_attempt,
    write_payment,
)

Clock = Callable[[], datetime]

SETTLE_AFTER = timedelta(seconds=10)
"""How long the request that began an attempt has it to itself; longer than one call may hang."""
ASK_AGAIN_AFTER = timedelta(seconds=1)
GIVEN_UP: dict[str, tuple[str, str]] = {
    Payment.Reason.EXPIRED: (
        "expired",
        "The reservation ended before the payment went through. Nothing was charged.",
    ),
    Payment.Reason.CANCELLED: (
        "cancelled",
        "The order was cancelled before the payment went through. Nothing was charged.",
    ),
    "": (
        "not_confirmed",
        "The payment did not go through and nothing was charged. Please try again.",
    ),
}
"""What an attempt that was given up is recorded with, by the reason why its payment ends."""
AUTHENTICATION_REQUIRED = {
    "code": "authentication_required",
    "message": "Your bank asks you to confirm this payment, which is not possible here yet. "
    "Nothing was charged; please use another card.",
}

log = structlog.get_logger(__name__)


class PaymentDeclined(Conflict):
    """The attempt ended without money; another may follow."""

    code = "payment_declined"


@transactional
def begin_attempt(*, order_id: str, buyer_id: str, method: str, now: datetime) -> PaymentAttempt:
    """Begin to pay, or return the attempt whose outcome is still open. Publishes PaymentStarted.

    Raises:
        PaymentNotFound, NotSignedIn: as selectors.get_payment.
        OrderAlreadyPaid, OrderCancelledAlready, OrderExpiredAlready: nothing may be paid.
    """
    payment = selectors.get_payment(order_id=order_id, buyer_id=buyer_id)
    if payment.active_payment_id:
        return selectors.get_attempt(payment_id=payment.active_payment_id)
    attempt = PaymentAttempt(
        order_id=order_id,
        attempt=payment.attempts + 1,
        buyer_id=buyer_id,
        amount_cents=payment.amount_cents,
        currency=payment.currency,
        method=method,
        started_at=now,
        correlation_id=current_trace().correlation_id,
        settle_at=now + SETTLE_AFTER,
    )
    payment.begin_attempt(str(attempt.pk), now)
    fact = fact_of(PaymentStarted, payment, attempt)
    write_payment(payment, now)
    attempt.save(force_insert=True)
    publish(fact)
    return attempt


def pay_order(
    *, order_id: str, buyer_id: str, method: str, gateway: Gateway, clock: Clock = timezone.now
) -> PaymentAttempt:
    """Pay an order with a token or payment method, by a new attempt or the one that is open.

    Returns:
        The attempt: paid, or pending when the provider's answer did not come. Then nobody may be
        told that it failed; the settler finds out.

    Raises:
        PaymentDeclined: nothing was charged, and why.
        Others: as begin_attempt.
    """
    now = clock()
    attempt = begin_attempt(order_id=order_id, buyer_id=buyer_id, method=method, now=now)
    if not attempt.is_with_settler(now):
        attempt = _drive(attempt, gateway, clock)
    if attempt.status == PaymentAttempt.Status.FAILED:
        raise PaymentDeclined(attempt.failure_message, code=attempt.failure_code)
    return attempt


def _drive(attempt: PaymentAttempt, gateway: Gateway, clock: Clock) -> PaymentAttempt:
    """Ask the provider for everything that the attempt needs; safe to do twice, or by two."""
    try:
        method = attempt.method
        if not method.startswith("pm_"):
            method = gateway.create_method(token=method, key=f"{attempt.key}:method")
        attempt = announce(attempt, gateway)
        if not attempt.is_pending:
            return attempt
        intent = gateway.confirm_intent(
            intent_id=attempt.intent_id,
            method=method,
            return_url=f"{settings.PUBLIC_URL}/orders/{attempt.order_id}/?confirming=1",
            key=f"{attempt.key}:confirm",
        )
        if intent.needs_buyer:
            return _give_up(attempt, gateway, clock)
        return record_outcome(payment_id=str(attempt.pk), intent=intent, now=clock())
    except ProviderRefused as refusal:
        return fail_attempt(
            payment_id=str(attempt.pk), code=refusal.code, message=refusal.message, now=clock()
        )
    except KeyInUse:
        # The same step is under way for another click, and has time until the settler is due.
        return selectors.get_attempt(payment_id=str(attempt.pk))
    except ProviderUnsure as exc:
        log.warning("the provider's answer is not known", payment_id=str(attempt.pk), why=str(exc))
        at = clock() + ASK_AGAIN_AFTER
        PaymentAttempt.objects.filter(
            pk=attempt.pk, status=PaymentAttempt.Status.PENDING, settle_at__gt=at
        ).update(settle_at=at, last_error=str(exc))
        return selectors.get_attempt(payment_id=str(attempt.pk))


def _give_up(attempt: PaymentAttempt, gateway: Gateway, clock: Clock) -> PaymentAttempt:
    """End an attempt for which the bank wants the buyer's confirmation, which we cannot show."""
    intent = gateway.cancel_intent(intent_id=attempt.intent_id)
    if intent.is_cancelled:
        return fail_attempt(payment_id=str(attempt.pk), now=clock(), **AUTHENTICATION_REQUIRED)
    return record_outcome(payment_id=str(attempt.pk), intent=intent, now=clock())


def announce(attempt: PaymentAttempt, gateway: Gateway) -> PaymentAttempt:
    """Have an intent made and remembered, before anything can be paid on it."""
    if attempt.intent_id:
        return attempt
    intent = gateway.create_intent(
        amount_cents=attempt.amount_cents,
        currency=attempt.currency,
        metadata={
            "order_id": attempt.order_id,
            "payment_id": str(attempt.pk),
            "attempt": str(attempt.attempt),
        },
        key=attempt.key,
    )
    PaymentAttempt.objects.filter(
        pk=attempt.pk, status=PaymentAttempt.Status.PENDING, intent_id=""
    ).update(intent_id=intent.id)
    return selectors.get_attempt(payment_id=str(attempt.pk))


@transactional
def record_outcome(*, payment_id: str, intent: Intent, now: datetime) -> PaymentAttempt:
    """Write down what became of an attempt, once; an outcome that is still open changes nothing.

    Publishes PaymentSucceeded or PaymentFailed, and PaymentClosed after the failure of a payment
    that is to be closed. Money that arrives after a failure was recorded is recorded all the same.

    Raises:
        ProviderUnsure: another amount was paid than was asked for; a person must look.
    """
    attempt = selectors.get_attempt(payment_id=payment_id)
    payment = Payment.objects.get(pk=attempt.order_id)
    status = attempt.status
    if intent.is_paid and status in {attempt.Status.PENDING, attempt.Status.FAILED}:
        if (intent.amount_cents, intent.currency) != (attempt.amount_cents, attempt.currency):
            log.error("another amount was paid", payment_id=payment_id, intent_id=intent.id)
            raise ProviderUnsure(f"{intent.id} was paid with another amount than asked for.")
        attempt.succeed(now)
        payment.succeed(payment_id)
        fact = fact_of(PaymentSucceeded, payment, attempt)
        write_payment(payment, now)
        write_attempt(attempt, status)
        enter_charge(attempt, now)
        publish(fact)
    elif attempt.is_pending and intent.is_declined:
        _fail(payment, attempt, intent.failure_code, intent.failure_message, now)
    elif attempt.is_pending and intent.is_cancelled:
        _fail(payment, attempt, *GIVEN_UP[payment.closed_because], now)
    return attempt


@transactional
def fail_attempt(*, payment_id: str, code: str, message: str, now: datetime) -> PaymentAttempt:
    """Write down that an attempt came to nothing, unless its outcome is known already."""
    attempt = selectors.get_attempt(payment_id=payment_id)
    if attempt.is_pending:
        payment = Payment.objects.get(pk=attempt.order_id)
        _fail(payment, attempt, code, message, now)
    return attempt


def _fail(
    payment: Payment, attempt: PaymentAttempt, code: str, message: str, now: datetime
) -> None:
    status = attempt.status
    attempt.fail(code, message, now)
    payment.fail(str(attempt.pk))
    facts: list[PaymentFact] = [
        fact_of(PaymentFailed, payment, attempt, failure_code=code, failure_message=message)
    ]
    if payment.state == Payment.State.CLOSING:
        facts += closed(payment)
    write_payment(payment, now)
    write_attempt(attempt, status)
    publish_all(facts)
