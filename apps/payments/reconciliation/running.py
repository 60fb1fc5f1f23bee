"""A whole reconciliation: read, compare, look again, repair what asking the provider repairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from django.utils import timezone

from apps.outbox.codec import Codec
from apps.outbox.registry import Registry
from apps.payments import selectors, services
from apps.payments.gateway import Gateway
from apps.payments.reconciliation.comparing import Comparison
from apps.payments.reconciliation.difference import Difference, Kind
from apps.payments.reconciliation.sides import (
    portions,
    read_here,
    read_orders,
    read_provider,
    read_tickets,
)

GRACE = timedelta(minutes=2)
LOOK_AGAIN_SECONDS = 5.0

Say = Callable[[str], None]
log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was looked at, and what differs.

    Args:
        intents: payment intents at the provider.
        orders: orders, by any side.
        tickets: tickets, by their topic.
        differences: what differed at each look.
    """

    intents: int
    orders: int
    tickets: int
    differences: tuple[Difference, ...]


@dataclass(frozen=True, kw_only=True)
class Reconciler:
    """Compares all sides.

    Args:
        gateway: the provider.
        grace: what has moved within this time is left alone: it may be on its way.
        pause: called between the two looks at what differs.
        clock: the time.
        say: told how far it is.
    """

    gateway: Gateway
    grace: timedelta = GRACE
    pause: Callable[[], None] = lambda: None
    clock: Callable[[], datetime] = timezone.now
    say: Say = lambda _: None

    def run(self, since: datetime | None = None) -> Outcome:
        """Compare what there is since then, or all; a difference counts that is seen twice.

        Raises:
            ProviderUnsure, ProviderRefused: the provider does not say.
            Exception: Kafka, the registry or the database is away.
        """
        outcome = self._look(since)
        if seen := {*outcome.differences}:
            self.say(f"{len(outcome.differences)} difference(s) at first sight: looking again")
            self.pause()
            outcome = self._look(since)
            lasting = tuple(each for each in outcome.differences if each in seen)
            outcome = replace(outcome, differences=lasting)
        for each in outcome.differences:
            log.error("reconciliation_difference", **vars(each))
        return outcome

    def repair(self, outcome: Outcome) -> int:
        """Ask the provider about what asking repairs, and return how many differences those are.

        It is what the settler does when a webhook comes, and as harmless when it is done twice.
        """
        repairable = [each for each in outcome.differences if each.kind.is_repaired_by_asking]
        for each in repairable:
            log.info("reconciliation_repair", **vars(each))
            services.look_again(
                payment_id=each.payment_id,
                intent_id=each.subject if each.kind == Kind.CHARGE_NOT_RECORDED else "",
                dispute_id=each.subject if each.kind == Kind.DISPUTE_NOT_RECORDED else "",
                gateway=self.gateway,
                clock=self.clock,
            )
        return len(repairable)

    def _look(self, since: datetime | None) -> Outcome:
        # The sides that follow come first: what they have, those that lead must have, too.
        codec = Codec(Registry.from_settings())
        try:
            self.say("reading ticketing.tickets")
            tickets = read_tickets(codec, since)
            self.say("reading ticketing.orders")
            orders = read_orders(codec, since)
        finally:
            codec.close()
        self.say("asking the provider")
        provider = read_provider(self.gateway, since)
        comparison = Comparison(
            provider=provider,
            orders=orders,
            now=self.clock(),
            grace=self.grace,
            is_whole=since is None,
        )
        order_ids = sorted(
            {*orders, *comparison.intents_of, *selectors.list_orders_since(since=since)} - {""}
        )
        self.say(f"comparing {len(order_ids):,} orders")
        found: list[Difference] = []
        for some in portions(order_ids):
            here = read_here(some)
            for order_id in some:
                found += comparison.order(order_id, here)
        found += comparison.tickets(tickets)
        found += [
            Difference(
                kind=Kind.LEDGER_DIFFERS,
                order_id=each.order_id,
                subject=each.subject,
                detail=f"It should be {each.expected}, and is {each.found}.",
            )
            for each in services.check_ledger()
        ]
        return Outcome(
            intents=len(provider.intents),
            orders=len(order_ids),
            tickets=len(tickets),
            differences=tuple(found),
        )
