"""The comparison of what the sides say of one order, or one ticket: no side is asked here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from apps.payments.gateway import ListedIntent
from apps.payments.models import Payment, PaymentAttempt, Refund
from apps.payments.reconciliation.difference import Difference, Kind
from apps.payments.reconciliation.sides import Here, Provider, Told

HOLDING = frozenset({"created", "awaiting_payment", "complete"})
Status = PaymentAttempt.Status


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Compares the sides.

    Args:
        provider: what it has.
        orders: what the topic says of each order.
        now: the time.
        grace: what has moved within this time may be on its way to the other sides.
        is_whole: everything was read from its beginning, so that what is absent is not there.
    """

    provider: Provider
    orders: Mapping[str, Told]
    now: datetime
    grace: timedelta
    is_whole: bool

    @cached_property
    def intents_of(self) -> Mapping[str, list[ListedIntent]]:
        """The provider's payment intents, by the orders that they name."""
        by_order: dict[str, list[ListedIntent]] = defaultdict(list)
        for intent in self.provider.intents.values():
            by_order[intent.order_id].append(intent)
        return by_order

    def order(self, order_id: str, here: Here) -> Iterator[Difference]:
        """Tell what differs about an order that nothing has happened to lately."""
        payment, attempts = here.payments.get(order_id), here.attempts[order_id]
        if self._is_moving(order_id, payment, attempts, here):
            return
        known = {attempt.intent_id: attempt for attempt in attempts if attempt.intent_id}
        # The answer that held the intent's id was lost; the provider names our payment in it.
        nameless = {str(attempt.pk): attempt for attempt in attempts if not attempt.intent_id}
        for intent in self.intents_of.get(order_id, []):
            attempt = known.get(intent.id) or nameless.get(intent.payment_id)
            yield from self._intent(intent, attempt)
        for attempt in attempts:
            yield from self._attempt(attempt, here)
        keeping = [each for each in attempts if each.is_paid and each.unpromised_cents > 0]
        if len(keeping) > 1:
            numbers = ", ".join(str(each.attempt) for each in keeping)
            yield Difference(
                kind=Kind.CHARGED_TWICE,
                order_id=order_id,
                subject=order_id,
                detail=f"Attempts {numbers} have taken money, and keep it.",
            )
        yield from self._outcome(order_id, payment, attempts, here)

    def tickets(self, tickets: Mapping[str, Told]) -> Iterator[Difference]:
        """Tell which tickets and orders do not say the same of each other."""
        sold: dict[str, list[str]] = defaultdict(list)
        for order_id, order in self.orders.items():
            if order.fields["status"] == "complete":
                sold[order.fields["ticket_id"]].append(order_id)
        for ticket_id, order_ids in sold.items():
            if len(order_ids) > 1:
                yield Difference(
                    kind=Kind.TICKET_SOLD_TWICE,
                    order_id=order_ids[0],
                    subject=ticket_id,
                    detail=f"Orders {', '.join(sorted(order_ids))} are all complete.",
                )
            yield from self._sold(ticket_id, order_ids, tickets.get(ticket_id))
        for ticket_id, ticket in tickets.items():
            yield from self._held(ticket_id, ticket)

    def _sold(
        self, ticket_id: str, order_ids: list[str], ticket: Told | None
    ) -> Iterator[Difference]:
        if ticket is None or not self._is_quiet(ticket.at, self.orders[order_ids[0]].at):
            return
        if ticket.fields["order_id"] not in order_ids:
            yield Difference(
                kind=Kind.TICKET_NOT_HELD,
                order_id=order_ids[0],
                subject=ticket_id,
                detail=f"It is marked as {ticket.fields['order_id'] or 'free'}.",
            )

    def _held(self, ticket_id: str, ticket: Told) -> Iterator[Difference]:
        order_id = ticket.fields["order_id"]
        if not order_id or not self._is_quiet(ticket.at):
            return
        order = self.orders.get(order_id)
        if order is None and not self.is_whole:
            return
        if order is None:
            detail = "There is no such order."
        elif order.fields["status"] in HOLDING or not self._is_quiet(order.at):
            return
        else:
            detail = f"The order is {order.fields['status']}."
        yield Difference(
            kind=Kind.TICKET_HELD_FOR_NOTHING, order_id=order_id, subject=ticket_id, detail=detail
        )

    def _intent(self, intent: ListedIntent, attempt: PaymentAttempt | None) -> Iterator[Difference]:
        if not intent.is_paid:
            return
        given_back = sum(
            each.amount_cents
            for each in self.provider.refunds.get(intent.id, [])
            if not each.is_failed
        )
        if attempt is None:
            if given_back < intent.amount_cents:
                yield Difference(
                    kind=Kind.UNKNOWN_CHARGE,
                    order_id=intent.order_id,
                    subject=intent.id,
                    detail=f"The provider has taken {_money(intent)} for attempt "
                    f"{intent.payment_id or '?'}, of which nobody here knows.",
                )
            return
        if not attempt.is_paid:
            yield self._of(
                Kind.CHARGE_NOT_RECORDED,
                attempt,
                f"The provider has taken {_money(intent)}; the attempt is {attempt.status}.",
                subject=intent.id,
            )
        elif _money(intent) != _money(attempt):
            yield self._of(
                Kind.AMOUNT_DIFFERS,
                attempt,
                f"The provider has taken {_money(intent)}; recorded are {_money(attempt)}.",
            )

    def _attempt(self, attempt: PaymentAttempt, here: Here) -> Iterator[Difference]:
        intent = self.provider.intents.get(attempt.intent_id)
        if attempt.is_paid and intent is not None and not intent.is_paid:
            yield self._of(
                Kind.CHARGE_NOT_AT_PROVIDER, attempt, f"At the provider it is {intent.status}."
            )
        if attempt.is_paid and intent is None and self.is_whole:
            yield self._of(Kind.CHARGE_NOT_AT_PROVIDER, attempt, "The provider has no such intent.")
        payment = here.payments.get(attempt.order_id)
        if payment is not None and attempt.refundable_cents and _money(payment) != _money(attempt):
            yield self._of(
                Kind.AMOUNT_DIFFERS,
                attempt,
                f"{_money(attempt)} were taken and are kept; the price is {_money(payment)}.",
            )
        if attempt.is_pending and payment is not None and self._is_quiet(payment.expires_at):
            yield self._of(Kind.ATTEMPT_STUCK, attempt, attempt.last_error or "Nobody settles it.")
        if intent is not None:
            yield from self._refunds(attempt, here.refunds[str(attempt.pk)])
            yield from self._disputes(attempt, here)

    def _refunds(self, attempt: PaymentAttempt, refunds: list[Refund]) -> Iterator[Difference]:
        there = {each.id: each for each in self.provider.refunds.get(attempt.intent_id, [])}
        ours = {each.provider_refund_id: each for each in refunds if each.provider_refund_id}
        for refund_id, given in there.items():
            known = ours.get(refund_id)
            is_given_here = known is not None and known.state == Refund.State.SUCCEEDED
            if given.is_done and not is_given_here:
                yield self._of(
                    Kind.REFUND_NOT_RECORDED,
                    attempt,
                    f"The provider gave {given.amount_cents} back; here it is "
                    f"{known.state if known else 'unknown'}.",
                    subject=refund_id,
                )
        for refund in refunds:
            if refund.state == Refund.State.SUCCEEDED:
                found = there.get(refund.provider_refund_id)
                if found is None and not self.is_whole:
                    continue
                if found is None or found.is_failed:
                    yield self._of(
                        Kind.REFUND_NOT_AT_PROVIDER,
                        attempt,
                        "At the provider it " + ("failed." if found else "is not."),
                        subject=str(refund.pk),
                    )
            elif refund.state == Refund.State.DUE and not attempt.disputed_cents:
                yield self._of(
                    Kind.REFUND_STUCK,
                    attempt,
                    refund.last_error or "Nobody has given it.",
                    subject=str(refund.pk),
                )
        total = sum(each.amount_cents for each in there.values() if not each.is_failed)
        if total > attempt.amount_cents:
            yield self._of(
                Kind.REFUND_EXCEEDS_PAYMENT,
                attempt,
                f"{total} of {attempt.amount_cents} went back.",
            )

    def _disputes(self, attempt: PaymentAttempt, here: Here) -> Iterator[Difference]:
        known = {each.pk: each for each in here.disputes[str(attempt.pk)]}
        for dispute in self.provider.disputes.get(attempt.intent_id, []):
            status = known[dispute.id].status if dispute.id in known else "unknown"
            if status != dispute.status:
                yield self._of(
                    Kind.DISPUTE_NOT_RECORDED,
                    attempt,
                    f"At the provider it is {dispute.status}, here {status}.",
                    subject=dispute.id,
                )

    def _outcome(
        self, order_id: str, payment: Payment | None, attempts: list[PaymentAttempt], here: Here
    ) -> Iterator[Difference]:
        """Compare whether the money was kept with whether the order has its ticket."""
        order = self.orders.get(order_id)
        if order is None:
            return
        status = order.fields["status"]
        if payment is None:
            yield Difference(
                kind=Kind.ORDER_UNKNOWN,
                order_id=order_id,
                subject=order_id,
                detail=f"Orders has it as {status}.",
            )
            return
        keeps = any(attempt.refundable_cents > 0 for attempt in attempts)
        if keeps and status != "complete":
            yield Difference(
                kind=Kind.PAID_ORDER_NOT_COMPLETE,
                order_id=order_id,
                subject=order_id,
                detail=f"Its money was taken and is kept; the order is {status}.",
            )
        if status == "complete" and not payment.is_paid:
            yield Difference(
                kind=Kind.COMPLETE_ORDER_NOT_PAID,
                order_id=order_id,
                subject=order_id,
                detail=f"The payment is {payment.state}.",
            )
        if status == "complete" and payment.is_paid and self._is_lost(payment, attempts, here):
            yield Difference(
                kind=Kind.COMPLETE_ORDER_NOT_PAID,
                order_id=order_id,
                subject=order_id,
                detail="A bank gave the money back to the buyer.",
            )

    @staticmethod
    def _is_lost(payment: Payment, attempts: list[PaymentAttempt], here: Here) -> bool:
        """Say whether refunds and lost disputes have given back all that paid the order."""
        for attempt in attempts:
            if str(attempt.pk) == payment.paid_payment_id:
                disputes = here.disputes[str(attempt.pk)]
                lost = sum(each.taken_cents for each in disputes if each.is_lost)
                return lost > 0 and attempt.refunded_cents + lost >= attempt.amount_cents
        return False

    def _is_moving(
        self,
        order_id: str,
        payment: Payment | None,
        attempts: list[PaymentAttempt],
        here: Here,
    ) -> bool:
        moments = [intent.created_at for intent in self.intents_of.get(order_id, [])]
        if payment is not None:
            moments.append(payment.updated_at)
        if order_id in self.orders:
            moments.append(self.orders[order_id].at)
        for attempt in attempts:
            moments += filter(None, (attempt.started_at, attempt.decided_at, attempt.refunded_at))
            for refund in here.refunds[str(attempt.pk)]:
                moments += filter(None, (refund.requested_at, refund.decided_at))
            for given in self.provider.refunds.get(attempt.intent_id, []):
                moments.append(given.created_at)
            for dispute in self.provider.disputes.get(attempt.intent_id, []):
                moments.append(dispute.created_at)
        return not self._is_quiet(*moments)

    def _is_quiet(self, *moments: datetime) -> bool:
        return all(moment <= self.now - self.grace for moment in moments)

    def _of(
        self, kind: Kind, attempt: PaymentAttempt, detail: str, subject: str = ""
    ) -> Difference:
        return Difference(
            kind=kind,
            order_id=attempt.order_id,
            subject=subject or attempt.intent_id or str(attempt.pk),
            detail=detail,
            payment_id=str(attempt.pk),
        )


def _money(of: ListedIntent | PaymentAttempt | Payment) -> str:
    return f"{of.amount_cents} {of.currency}"
