"""Where the money is: each movement in double entry, in the transaction of the state it records.

Accounts are seen from our side. `stripe_balance` is what the provider holds for us (a debit is more
of it), `held_for_orders` what we owe for orders, tickets or money (a credit is more of it), and
`disputed` what banks have taken back and not yet decided upon.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from apps.outbox.transactions import transactional
from apps.payments import selectors
from apps.payments.models import Dispute, LedgerTransaction, PaymentAttempt, Refund

Account = LedgerTransaction.Account
Kind = LedgerTransaction.Kind
Moves = Mapping[Account, int]

ORDERS_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True)
class LedgerDifference:
    """Where the ledger and the state that it records do not say the same.

    Args:
        order_id: the order it is about.
        subject: an account, a ledger transaction or an attempt.
        expected: the minor units that the state says.
        found: the minor units that are there.
    """

    order_id: str
    subject: str
    expected: int
    found: int

    def __str__(self) -> str:
        return f"order {self.order_id}: {self.subject} is {self.found}, not {self.expected}"


def enter_charge(attempt: PaymentAttempt, now: datetime) -> None:
    """Record that the provider has taken the money of an attempt."""
    cents = attempt.amount_cents
    moves = {Account.STRIPE_BALANCE: cents, Account.HELD_FOR_ORDERS: -cents}
    _enter(Kind.CHARGE, str(attempt.pk), attempt, moves, now)


def enter_refund(refund: Refund, now: datetime) -> None:
    """Record that the provider has given money back."""
    cents = refund.amount_cents
    moves = {Account.STRIPE_BALANCE: -cents, Account.HELD_FOR_ORDERS: cents}
    _enter(Kind.REFUND, str(refund.pk), refund, moves, now)


def enter_failed_refund(refund: Refund, now: datetime) -> None:
    """Record that money came back to us which had been given back before."""
    cents = refund.amount_cents
    moves = {Account.STRIPE_BALANCE: cents, Account.HELD_FOR_ORDERS: -cents}
    _enter(Kind.REFUND_FAILED, str(refund.pk), refund, moves, now)


def position_of(dispute: Dispute) -> Counter[Account]:
    """Return what a dispute makes of the money of its payment, by account."""
    position: Counter[Account] = Counter()
    if cents := dispute.taken_cents:
        position[Account.STRIPE_BALANCE] = -cents
        position[Account.DISPUTED if dispute.is_open else Account.HELD_FOR_ORDERS] = cents
    return position


def enter_dispute(dispute: Dispute, before: Counter[Account], now: datetime) -> None:
    """Record what a change of a dispute has done to the money, if anything."""
    after = position_of(dispute)
    moves = {account: cents for account in Account if (cents := after[account] - before[account])}
    if not moves:
        return
    if dispute.is_open:
        kind = Kind.DISPUTE_OPENED
    else:
        kind = Kind.DISPUTE_LOST if dispute.taken_cents else Kind.DISPUTE_WON
    _enter(kind, f"{dispute.pk}:{dispute.changes}", dispute, moves, now)


def check_ledger() -> list[LedgerDifference]:
    """Compare the ledger with the attempts, refunds and disputes that it records.

    Reads in portions, while payments go on; an order that differs is looked at again, in a
    transaction of its own, before it is told.
    """
    suspects: set[str] = set()
    last = ""
    while order_ids := selectors.list_order_ids(after=last, limit=ORDERS_AT_ONCE):
        suspects.update(difference.order_id for difference in _compare(order_ids))
        last = order_ids[-1]
    return [difference for order_id in sorted(suspects) for difference in _compare_one(order_id)]


def total_by_account() -> dict[str, Counter[str]]:
    """Return the sum of each account, by currency."""
    totals: dict[str, Counter[str]] = {}
    for currency, account, cents in selectors.sum_ledger():
        totals.setdefault(currency, Counter())[account] = cents
    return totals


@transactional
def _compare_one(order_id: str) -> list[LedgerDifference]:
    return list(_compare([order_id]))


def _compare(order_ids: Sequence[str]) -> Iterator[LedgerDifference]:
    books = _Books(order_ids)
    yield from books.read_entries()
    yield from books.read_state()
    for order_id in order_ids:
        for account in Account:
            key = (order_id, account)
            if books.expected[key] != books.found[key]:
                yield _difference(order_id, account.value, books.expected[key], books.found[key])


class _Books:
    """The accounts of some orders: as the ledger has them, and as they follow from the state."""

    def __init__(self, order_ids: Sequence[str]) -> None:
        self._order_ids = order_ids
        self.found: Counter[tuple[str, Account]] = Counter()
        self.expected: Counter[tuple[str, Account]] = Counter()

    def read_entries(self) -> Iterator[LedgerDifference]:
        for entry in LedgerTransaction.objects.filter(order_id__in=self._order_ids):
            for line in entry.lines:
                self.found[entry.order_id, Account(line["account"])] += line["cents"]
            if total := sum(line["cents"] for line in entry.lines):
                yield _difference(entry.order_id, f"the sum of {entry.reference}", 0, total)

    def read_state(self) -> Iterator[LedgerDifference]:
        sums: dict[str, Counter[str]] = {"promised": Counter(), "refunded": Counter()}
        sums["disputed"] = Counter()
        for refund in Refund.objects.filter(order_id__in=self._order_ids):
            if refund.state != Refund.State.FAILED:
                sums["promised"][refund.payment_id] += refund.amount_cents
            if refund.state == Refund.State.SUCCEEDED:
                sums["refunded"][refund.payment_id] += refund.amount_cents
                self._hold(refund.order_id, -refund.amount_cents)
        for dispute in Dispute.objects.filter(order_id__in=self._order_ids):
            sums["disputed"][dispute.payment_id] += dispute.taken_cents
            for account, cents in position_of(dispute).items():
                self.expected[dispute.order_id, account] += cents
        for attempt in PaymentAttempt.objects.filter(order_id__in=self._order_ids):
            yield from self._read_attempt(attempt, sums)

    def _read_attempt(
        self, attempt: PaymentAttempt, sums: Mapping[str, Counter[str]]
    ) -> Iterator[LedgerDifference]:
        paid = attempt.amount_cents if attempt.is_paid else 0
        self._hold(attempt.order_id, paid)
        for name, by_payment in sums.items():
            should, does = by_payment[str(attempt.pk)], getattr(attempt, f"{name}_cents")
            if should != does:
                yield _difference(attempt.order_id, f"{name} of {attempt}", should, does)
        if attempt.promised_cents > paid:
            yield _difference(
                attempt.order_id, f"promised of {attempt}", paid, attempt.promised_cents
            )

    def _hold(self, order_id: str, cents: int) -> None:
        self.expected[order_id, Account.STRIPE_BALANCE] += cents
        self.expected[order_id, Account.HELD_FOR_ORDERS] -= cents


def _difference(order_id: str, subject: str, expected: int, found: int) -> LedgerDifference:
    return LedgerDifference(order_id=order_id, subject=subject, expected=expected, found=found)


def _enter(
    kind: Kind, what: str, of: PaymentAttempt | Refund | Dispute, moves: Moves, now: datetime
) -> None:
    """Write one movement; the unique reference refuses a second one about the same."""
    payment_id = str(of.pk) if isinstance(of, PaymentAttempt) else of.payment_id
    LedgerTransaction.objects.create(
        reference=f"{kind.value}:{what}",
        kind=kind,
        order_id=of.order_id,
        payment_id=payment_id,
        currency=of.currency,
        occurred_at=now,
        lines=[{"account": account.value, "cents": cents} for account, cents in moves.items()],
    )
