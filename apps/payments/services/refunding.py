"""Money that goes back to the buyer: promised first, then given, each part once.

A promise counts against what the attempt paid in the transaction that makes it, and raises the
payment's revision there; so of two that come at the same time, the second is made knowing of the
first, or not at all. The provider is asked afterwards, with no transaction open. Before it is
asked for a refund, it is asked which there are: a lost answer is found again, and what somebody
gave by hand in its dashboard is not given twice.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
import uuid6
from django.db.models import F
from django.utils import timezone

from apps.core.errors import Conflict, Invalid
from apps.outbox import tracing
from apps.outbox.context import current_trace
from apps.outbox.transactions import transactional
from apps.payments import selectors
from apps.payments.events import PaymentRefunded, PaymentRefundFailed, PaymentRefundRequested
from apps.payments.gateway import Gateway, ProviderRefund, ProviderRefused, ProviderUnsure
from apps.payments.models import Payment, PaymentAttempt, Refund, StripeEvent
from apps.payments.services.ledger import enter_failed_refund, enter_refund
from apps.payments.services.paying import Clock
from apps.payments.services.writing import (
    ConcurrentChange,
    fact_of,
    tell,
    write_attempt,
    write_payment,
)

LONGEST_PAUSE_SECONDS = 60
LOOK_AGAIN_AFTER = timedelta(minutes=10)
"""How often a refund that the provider has accepted is asked about, should no webhook come."""
BY_HAND = "It was given back by hand."
GIVEN_ELSEWHERE = "The money went back to the buyer another way before this could be given."

log = structlog.get_logger(__name__)


class RefundTooLarge(Conflict):
    """More than is left of the payment, beside what went back or is promised already."""

    code = "refund_too_large"


class RefundInvalid(Invalid):
    code = "refund_invalid"


@transactional
def request_refund(  # noqa: PLR0913 - each a part of the request
    *,
    payment_id: str,
    reason: str,
    now: datetime,
    requested_by: str = Refund.SYSTEM,
    amount_cents: int | None = None,
    refund_id: str = "",
) -> Refund | None:
    """Promise that money of an attempt goes back; the settler gives it, once.

    Publishes PaymentRefundRequested. A request that is known by its id, or a second one of the
    system's that has none, changes nothing.

    Args:
        payment_id: the attempt.
        reason: in words for the buyer.
        now: the moment of the request.
        requested_by: Refund.SYSTEM, Refund.BUYER, or Refund.STAFF and an address.
        amount_cents: how much; all that is not promised yet if None.
        refund_id: the id that the refund is to have.

    Returns:
        The refund; None when all of the money goes back already.

    Raises:
        RefundTooLarge: there is not so much left.
        RefundInvalid: nothing, or less than that, is to go back.
    """
    attempt = selectors.get_attempt(payment_id=payment_id)
    if known := _find_known(payment_id, refund_id, requested_by):
        log.info("the refund was requested before", payment_id=payment_id)
        return known
    if amount_cents is None:
        if not attempt.unpromised_cents:
            log.info("all of it goes back already", payment_id=payment_id)
            return None
        cents = attempt.unpromised_cents
    else:
        cents = amount_cents
        if cents <= 0:
            raise RefundInvalid("A refund is of more than nothing.", field="amount")
        if cents > attempt.refundable_cents:
            raise RefundTooLarge("There is not so much left of this payment to give back.")
    return _promise(
        attempt=attempt,
        cents=cents,
        reason=reason,
        requested_by=requested_by,
        now=now,
        refund_id=refund_id,
    )


def notice_refund(webhook: StripeEvent, now: datetime, *, cause: str = "") -> None:
    """Look at once after the refunds of the payment that a webhook speaks of.

    It may be about one of ours, or about one that somebody gave in the provider's dashboard; the
    provider is asked which.

    Args:
        webhook: as it was stored.
        now: the moment of processing it.
        cause: the event that told of it.
    """
    attempts = PaymentAttempt.objects.filter(intent_id=webhook.intent_id).exclude(intent_id="")
    attempts.update(refund_at=now, refund_tries=0, **({"causation_id": cause} if cause else {}))


def settle_refunds(
    *, attempt: PaymentAttempt, gateway: Gateway, clock: Clock = timezone.now
) -> None:
    """Bring the refunds of an attempt on, as far as the provider lets them.

    Whoever takes an attempt moves its time first, by a conditional update: two settlers do not
    meet over it, and one that dies leaves it to be taken again.
    """
    now = clock()
    again_at = now + timedelta(seconds=min(LONGEST_PAUSE_SECONDS, 2**attempt.refund_tries))
    taken = PaymentAttempt.objects.filter(pk=attempt.pk, refund_at=attempt.refund_at).update(
        refund_at=again_at, refund_tries=F("refund_tries") + 1
    )
    if not taken or not attempt.is_paid:
        return  # another settler was quicker; or the money has yet to be recorded
    payment_id = str(attempt.pk)
    try:
        with tracing.resuming("settle refunds", attempt.trace, order_id=attempt.order_id):
            given = gateway.list_refunds(intent_id=attempt.intent_id)
            for refund in given:
                _record_given(payment_id, refund, clock())
            _fit_promises(payment_id=payment_id, now=clock())
        for due in selectors.list_refunds(payment_id=payment_id, state=Refund.State.DUE):
            _give(due, attempt, gateway, clock)
    except (ProviderUnsure, ProviderRefused) as exc:
        log.warning("the refund is not settled yet", payment_id=payment_id, why=str(exc))
        Refund.objects.filter(payment_id=payment_id, state=Refund.State.DUE).update(
            last_error=str(exc)
        )
        return
    _set_next_look(payment_id, again_at, clock())


@transactional
def record_refund(*, refund_id: str, given: ProviderRefund, now: datetime) -> None:
    """Write down what has become of a refund at the provider; what is known changes nothing.

    Publishes PaymentRefunded when it was given, PaymentRefundFailed when it came to nothing, and
    enters both into the ledger. A refund may fail long after it was given: a bank sends it back.
    """
    refund = Refund.objects.get(pk=refund_id)
    attempt = selectors.get_attempt(payment_id=refund.payment_id)
    status, state = attempt.status, refund.state
    if refund.state == Refund.State.DUE:
        refund.send(given.id)
        if given.amount_cents != refund.amount_cents:
            log.error("another amount was refunded", refund_id=refund_id, provider=given.id)
            attempt.unpromise_refund(refund.amount_cents - given.amount_cents)
            refund.amount_cents = given.amount_cents
    payment = Payment.objects.get(pk=attempt.order_id)
    fact: PaymentRefunded | PaymentRefundFailed | None = None
    if given.is_done and refund.state == Refund.State.SENT:
        fact = _succeed(payment, attempt, refund, now)
    elif given.is_failed and refund.state != Refund.State.FAILED:
        fact = _fail(payment, attempt, refund, given.failure_reason, now)
    if refund.state == state:
        return
    write_payment(payment, now)
    write_attempt(attempt, status)
    _write_refund(refund, state)
    if fact is not None:
        tell(payment, fact)


def _find_known(payment_id: str, refund_id: str, requested_by: str) -> Refund | None:
    if refund_id:
        return Refund.objects.filter(pk=refund_id).first()
    if requested_by == Refund.SYSTEM:
        return Refund.objects.filter(payment_id=payment_id, requested_by=requested_by).first()
    return None


def _promise(  # noqa: PLR0913
    *,
    attempt: PaymentAttempt,
    cents: int,
    reason: str,
    requested_by: str,
    now: datetime,
    refund_id: str = "",
) -> Refund:
    payment = Payment.objects.get(pk=attempt.order_id)
    number = Refund.objects.filter(payment_id=str(attempt.pk)).count() + 1
    refund = Refund(
        id=uuid.UUID(refund_id) if refund_id else uuid6.uuid7(),
        order_id=attempt.order_id,
        payment_id=str(attempt.pk),
        amount_cents=cents,
        currency=attempt.currency,
        reason=reason,
        requested_by=requested_by,
        key=f"{attempt.key}:refund:{number}",
        requested_at=now,
        correlation_id=current_trace().correlation_id or attempt.correlation_id,
        traceparent=payment.traceparent or current_trace().traceparent,
    )
    attempt.promise_refund(cents, reason, now)
    fact = fact_of(
        PaymentRefundRequested,
        payment,
        attempt,
        refund_id=str(refund.pk),
        refund_cents=cents,
        reason=reason,
        requested_by=requested_by,
        requested_at=now,
    )
    write_payment(payment, now)
    write_attempt(attempt, attempt.status)
    refund.causation_id = tell(payment, fact)
    refund.save(force_insert=True)
    return refund


def _record_given(payment_id: str, given: ProviderRefund, now: datetime) -> None:
    """Find which of our refunds this is, or make it one of ours, and record how it stands."""
    refund = selectors.find_refund(
        payment_id=payment_id, refund_id=given.refund_id, provider_refund_id=given.id
    )
    if refund is None and given.is_failed:
        return  # by hand, and nothing came of it
    if refund is None:
        refund = _adopt(payment_id=payment_id, given=given, now=now)
    with tracing.resuming("record refund", refund.trace):
        record_refund(refund_id=str(refund.pk), given=given, now=now)


@transactional
def _adopt(*, payment_id: str, given: ProviderRefund, now: datetime) -> Refund:
    """Make one of ours of a refund that the provider was asked for by hand.

    It stands for one of that amount that is due, if there is such a one. Otherwise it is new, and
    makes what is due give way.
    """
    due = selectors.list_refunds(payment_id=payment_id, state=Refund.State.DUE)
    for refund in due:
        if refund.amount_cents == given.amount_cents:
            return refund
    attempt = selectors.get_attempt(payment_id=payment_id)
    _make_room(attempt, due, attempt.unpromised_cents - given.amount_cents, now)
    return _promise(
        attempt=attempt,
        cents=given.amount_cents,
        reason=BY_HAND,
        requested_by=Refund.PROVIDER,
        now=now,
    )


@transactional
def _fit_promises(*, payment_id: str, now: datetime) -> None:
    """Let go what is due but was taken by a bank for good, by a dispute that was lost."""
    attempt = selectors.get_attempt(payment_id=payment_id)
    lost = selectors.sum_lost(payment_id=payment_id)
    due = selectors.list_refunds(payment_id=payment_id, state=Refund.State.DUE)
    _make_room(attempt, due, attempt.unpromised_cents - lost, now)


def _make_room(attempt: PaymentAttempt, due: Sequence[Refund], left: int, now: datetime) -> None:
    """Shrink or drop refunds that are due, the newest first, until `left` is not below nothing.

    What staff wanted to give beside other money is dropped, for them to decide anew. Where all was
    to go back, all does.
    """
    if left >= 0:
        return
    all_goes_back = not attempt.unpromised_cents
    payment = Payment.objects.get(pk=attempt.order_id)
    status = attempt.status
    facts = []
    for refund in reversed(due):
        if left >= 0:
            break
        cents = min(refund.amount_cents, -left)
        left += cents
        if (refund.is_owed or all_goes_back) and cents < refund.amount_cents:
            attempt.unpromise_refund(cents)
            refund.shrink(cents)
        else:
            facts.append(_fail(payment, attempt, refund, GIVEN_ELSEWHERE, now))
        _write_refund(refund, Refund.State.DUE)
    write_payment(payment, now)
    write_attempt(attempt, status)
    tell(payment, *facts)


def _give(refund: Refund, attempt: PaymentAttempt, gateway: Gateway, clock: Clock) -> None:
    if selectors.has_open_dispute(payment_id=refund.payment_id):
        Refund.objects.filter(pk=refund.pk).update(last_error="It waits for the bank's dispute.")
        return
    with tracing.resuming("give refund", refund.trace, order_id=refund.order_id):
        try:
            given = gateway.refund_intent(
                intent_id=attempt.intent_id,
                amount_cents=refund.amount_cents,
                metadata={"refund_id": str(refund.pk), "order_id": refund.order_id},
                key=refund.key,
            )
        except ProviderRefused as exc:
            log.error("the refund was refused", refund_id=str(refund.pk), why=str(exc))  # noqa: TRY400
            state = refund.state
            refund.refuse(str(exc))
            _write_refund(refund, state)
            return
        record_refund(refund_id=str(refund.pk), given=given, now=clock())


def _succeed(
    payment: Payment, attempt: PaymentAttempt, refund: Refund, now: datetime
) -> PaymentRefunded:
    refund.succeed(now)
    attempt.refund(refund.amount_cents, now)
    if attempt.status == attempt.Status.REFUNDED:
        payment.refund(refund.payment_id)
    enter_refund(refund, now)
    return fact_of(
        PaymentRefunded,
        payment,
        attempt,
        reason=refund.reason,
        refunded_at=now,
        refund_id=str(refund.pk),
        refund_cents=refund.amount_cents,
        refunded_total_cents=attempt.refunded_cents,
        requested_by=refund.requested_by,
        returned_total_cents=attempt.refunded_cents
        + selectors.sum_lost(payment_id=refund.payment_id),
    )


def _fail(
    payment: Payment, attempt: PaymentAttempt, refund: Refund, why: str, now: datetime
) -> PaymentRefundFailed:
    was_given = refund.state == Refund.State.SUCCEEDED
    refund.fail(why, now)
    attempt.unpromise_refund(refund.amount_cents)
    if was_given:
        attempt.unrefund(refund.amount_cents)
        payment.unrefund(refund.payment_id)
        enter_failed_refund(refund, now)
    log.error("a refund failed", refund_id=str(refund.pk), order_id=refund.order_id, why=why)
    return fact_of(
        PaymentRefundFailed,
        payment,
        attempt,
        refund_id=str(refund.pk),
        refund_cents=refund.amount_cents,
        refunded_total_cents=attempt.refunded_cents,
        reason=why,
        requested_by=refund.requested_by,
        failed_at=now,
    )


def _write_refund(refund: Refund, state: str) -> None:
    """Write a refund back, provided that it still has the state that it was read with."""
    written = Refund.objects.filter(pk=refund.pk, state=state).update(
        amount_cents=refund.amount_cents,
        state=refund.state,
        key=refund.key,
        refusals=refund.refusals,
        provider_refund_id=refund.provider_refund_id,
        decided_at=refund.decided_at,
        last_error=refund.last_error,
    )
    if written != 1:
        raise ConcurrentChange(refund.pk)


def _set_next_look(payment_id: str, again_at: datetime, now: datetime) -> None:
    """Let the settler come again as long as something is open; unless a new hint came meanwhile."""
    refunds = selectors.list_refunds(payment_id=payment_id)
    if any(refund.state == Refund.State.DUE for refund in refunds):
        return
    is_sent = any(refund.state == Refund.State.SENT for refund in refunds)
    PaymentAttempt.objects.filter(pk=payment_id, refund_at=again_at).update(
        refund_at=now + LOOK_AGAIN_AFTER if is_sent else None
    )
