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
from django.db.models import QuerySet
from django.utils import timezone

from apps.core.errors import Conflict
from apps.outbox.context import current_trace
from apps.outbox.transactions import on_commit, transactional
from apps.payments import metrics, selectors
from apps.payments.events import (
    PaymentActionRequired,
    PaymentFact,
    PaymentFailed,
    PaymentStarted,
    PaymentSucceeded,
    PaymentUnsure,
)
from apps.payments.gateway import (
    CONFIRMATION_TOKEN,
    METHOD,
    Gateway,
    Intent,
    KeyInUse,
    ProviderRefused,
    ProviderUnsure,
)
from apps.payments.metrics import BadInput, note_other_money, note_refused
from apps.payments.models import OrderAlreadyPaid, Payment, PaymentAttempt
from apps.payments.services.ledger import enter_charge
from apps.payments.services.writing import (
    closed,
    fact_of,
    tell,
    write_attempt,
    write_payment,
)

Clock = Callable[[], datetime]

SETTLE_AFTER = timedelta(seconds=10)
"""How long the request that began an attempt has it to itself; longer than one call may hang."""
ASK_AGAIN_AFTER = timedelta(seconds=1)
LOOK_AT_BUYER_AFTER = timedelta(minutes=1)
"""How often the provider is asked about a buyer who is with the bank, should nobody tell."""
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
    "message": "Your bank asks you to confirm this payment in a way that is not possible here. "
    "Nothing was charged; please use another card.",
}
OTHER_MONEY = (
    "other_money",
    "The payment was not for the price of this order, so the money goes back to you.",
)

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
    attempt.traceparent = payment.traceparent or current_trace().traceparent
    attempt.causation_id = tell(payment, fact)
    attempt.save(force_insert=True)
    return attempt


def pay_order(
    *, order_id: str, buyer_id: str, method: str, gateway: Gateway, clock: Clock = timezone.now
) -> PaymentAttempt:
    """Pay an order, by a new attempt or the one that is open.

    Args:
        order_id: the order.
        buyer_id: who pays.
        method: what stands for the card at the provider: tok_…, pm_… or ctoken_….
        gateway: the provider.
        clock: the time.

    Returns:
        The attempt: paid; or pending, when the bank wants the buyer to confirm it at its
        `action_url`, or when the provider's answer did not come. Then nobody may be told that it
        failed; the settler finds out.

    Raises:
        PaymentDeclined: nothing was charged, or what was goes back, and why.
        Others: as begin_attempt.
    """
    now = clock()
    try:
        attempt = begin_attempt(order_id=order_id, buyer_id=buyer_id, method=method, now=now)
    except OrderAlreadyPaid:
        note_refused(BadInput.ORDER_PAID_ALREADY, order_id=order_id)
        raise
    if not attempt.awaits_buyer and not attempt.is_with_settler(now):
        attempt = _drive(attempt, gateway, clock)
    if attempt.is_of_no_use:
        raise PaymentDeclined(attempt.failure_message, code=attempt.failure_code)
    return attempt


def _drive(attempt: PaymentAttempt, gateway: Gateway, clock: Clock) -> PaymentAttempt:
    """Ask the provider for everything that the attempt needs; safe to do twice, or by two."""
    try:
        method = attempt.method
        if not method.startswith((METHOD, CONFIRMATION_TOKEN)):
            method = gateway.create_method(token=method, key=f"{attempt.key}:method")
        attempt = announce(attempt, gateway)
        if not attempt.is_pending:
            return attempt
        intent = gateway.confirm_intent(
            intent_id=attempt.intent_id,
            method=method,
            return_url=f"{settings.PUBLIC_URL}/payments/{attempt.order_id}/return/",
            key=f"{attempt.key}:confirm",
        )
        if intent.action_url:
            return await_buyer(attempt, intent, clock())
        if intent.needs_buyer:
            intent = _cancel_for_want_of_a_page(attempt, gateway)
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
        return note_unsure(payment_id=str(attempt.pk), why=str(exc), now=clock())


@transactional
def note_unsure(*, payment_id: str, why: str, now: datetime) -> PaymentAttempt:
    """Leave it to the settler to ask what became of an attempt, and publish PaymentUnsure.

    One whose outcome is known by now, or that the settler has taken, is left as it is.
    """
    attempt = selectors.get_attempt(payment_id=payment_id)
    if not attempt.is_pending or attempt.is_with_settler(now + ASK_AGAIN_AFTER):
        return attempt
    payment = Payment.objects.get(pk=attempt.order_id)
    fact = fact_of(PaymentUnsure, payment, attempt, reason=why)
    write_payment(payment, now)
    attempt.settle_at, attempt.last_error = now + ASK_AGAIN_AFTER, why
    attempt.causation_id = tell(payment, fact, cause=attempt.causation_id)
    write_attempt(attempt, attempt.status)
    return attempt


def _cancel_for_want_of_a_page(attempt: PaymentAttempt, gateway: Gateway) -> Intent:
    """End an intent that the buyer must confirm with the bank, which gives no page to go to."""
    intent = gateway.cancel_intent(intent_id=attempt.intent_id)
    if intent.is_cancelled:
        raise ProviderRefused(**AUTHENTICATION_REQUIRED)
    return intent


@transactional
def await_buyer(attempt: PaymentAttempt, intent: Intent, now: datetime) -> PaymentAttempt:
    """Remember where the buyer confirms the payment, and leave the attempt open until then.

    Not over what has happened meanwhile: who hastens an attempt sets its tries back. Publishes
    PaymentActionRequired when the buyer is first led to the bank.
    """
    payment = Payment.objects.get(pk=attempt.order_id)
    waits = PaymentAttempt.objects.filter(
        pk=attempt.pk,
        status=PaymentAttempt.Status.PENDING,
        settle_tries=attempt.settle_tries,
        settle_at__gt=now,
    ).update(
        action_url=intent.action_url,
        settle_at=min(now + LOOK_AT_BUYER_AFTER, payment.expires_at),
    )
    if waits and not attempt.action_url:
        fact = fact_of(PaymentActionRequired, payment, attempt)
        write_payment(payment, now)
        event_id = tell(payment, fact, cause=attempt.causation_id)
        PaymentAttempt.objects.filter(pk=attempt.pk).update(causation_id=event_id)
    return selectors.get_attempt(payment_id=str(attempt.pk))


def notice_return(*, order_id: str, buyer_id: str, intent_id: str = "", now: datetime) -> None:
    """Have the attempt looked after at once, whose buyer has come back from the bank.

    Args:
        order_id: the order.
        buyer_id: who came back.
        intent_id: what the address says was paid; one of another order changes nothing.
        now: the time.

    Raises:
        PaymentNotFound, NotSignedIn: as selectors.get_payment.
    """
    payment = selectors.get_payment(order_id=order_id, buyer_id=buyer_id)
    attempts = PaymentAttempt.objects.filter(order_id=order_id)
    if intent_id and not attempts.filter(intent_id=intent_id).exists():
        note_refused(BadInput.INTENT_OF_ANOTHER_ORDER, order_id=order_id, intent_id=intent_id)
        return
    if payment.active_payment_id:
        hasten(attempts.filter(pk=payment.active_payment_id), now)


def use_another_card(
    *, order_id: str, buyer_id: str, gateway: Gateway, clock: Clock = timezone.now
) -> None:
    """End the attempt that waits for the buyer, unless the bank has its confirmation already.

    Raises:
        PaymentNotFound, NotSignedIn: as selectors.get_payment.
    """
    payment = selectors.get_payment(order_id=order_id, buyer_id=buyer_id)
    if not payment.active_payment_id:
        return
    attempt = selectors.get_attempt(payment_id=payment.active_payment_id)
    if not attempt.awaits_buyer:
        return
    try:
        intent = gateway.cancel_intent(intent_id=attempt.intent_id)
    except (ProviderUnsure, ProviderRefused) as exc:
        log.warning("not known whether it was cancelled", payment_id=str(attempt.pk), why=str(exc))
        hasten(PaymentAttempt.objects.filter(pk=attempt.pk), clock())
        return
    record_outcome(payment_id=str(attempt.pk), intent=intent, now=clock())


def hasten(attempts: QuerySet[PaymentAttempt], now: datetime, **why: str) -> None:
    """Have those of the attempts looked after at once that are open, and note why, if at all."""
    attempts.filter(status=PaymentAttempt.Status.PENDING).update(
        settle_at=now, settle_tries=0, **why
    )


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
    So is other money than was asked for: it does not pay the order, and orders asks for it back.
    """
    attempt = selectors.get_attempt(payment_id=payment_id)
    payment = Payment.objects.get(pk=attempt.order_id)
    if intent.is_paid and attempt.status in {attempt.Status.PENDING, attempt.Status.FAILED}:
        _succeed(payment, attempt, intent, now)
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


def _succeed(payment: Payment, attempt: PaymentAttempt, intent: Intent, now: datetime) -> None:
    status, tries = attempt.status, attempt.settle_tries
    is_as_asked = (intent.amount_cents, intent.currency) == (attempt.amount_cents, attempt.currency)
    if is_as_asked:
        attempt.succeed(now)
        payment.succeed(str(attempt.pk))
    else:
        is_other_currency = intent.currency != attempt.currency
        reason = BadInput.CURRENCY_MISMATCH if is_other_currency else BadInput.AMOUNT_MISMATCH
        note_other_money(reason, payment_id=str(attempt.pk), intent_id=intent.id)
        attempt.succeed_otherwise(intent.amount_cents, intent.currency, OTHER_MONEY, now)
        payment.succeed_otherwise(str(attempt.pk))
    facts: list[PaymentFact] = [fact_of(PaymentSucceeded, payment, attempt, tries=tries)]
    if payment.state == Payment.State.CLOSING and not payment.active_payment_id:
        facts += closed(payment)
    write_payment(payment, now)
    write_attempt(attempt, status)
    enter_charge(attempt, now)
    tell(payment, *facts, cause=attempt.causation_id)


def _fail(
    payment: Payment, attempt: PaymentAttempt, code: str, message: str, now: datetime
) -> None:
    status = attempt.status
    attempt.fail(code, message, now)
    payment.fail(str(attempt.pk))
    facts: list[PaymentFact] = [
        fact_of(
            PaymentFailed,
            payment,
            attempt,
            failure_code=code,
            failure_message=message,
            tries=attempt.settle_tries,
        )
    ]
    if payment.state == Payment.State.CLOSING:
        facts += closed(payment)
    write_payment(payment, now)
    write_attempt(attempt, status)
    tell(payment, *facts, cause=attempt.causation_id)
    on_commit(lambda: metrics.failures.labels(code).inc())
