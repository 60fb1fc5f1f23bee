"""The steps of which scenarios are made. Each is a value, so that hypothesis can shrink a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.model.processes import Stack
from tests.model.promises import check
from tests.model.world import World

GOOD, BAD, SECURE = "pm_card_visa", "pm_card_chargeDeclined", "pm_card_threeDSecure2Required"
FAULTS = ("timeout_before", "timeout_after", "error_before", "error_after")


@dataclass(frozen=True)
class Reserve:
    buyer: int
    ticket: int

    def act(self, world: World) -> None:
        world.reserve(self.buyer, self.ticket)


@dataclass(frozen=True)
class Pay:
    order: int
    card: str
    fault: str
    operation: str
    crash_at: int
    by_kill: bool

    def act(self, world: World) -> None:
        world.pay(
            self.order, self.card, self.fault, self.operation, self.crash_at, by_kill=self.by_kill
        )


@dataclass(frozen=True)
class AnswerBank:
    which: int
    approve: bool
    come_back: bool

    def act(self, world: World) -> None:
        world.answer_bank(self.which, approve=self.approve, come_back=self.come_back)


@dataclass(frozen=True)
class UseAnotherCard:
    which: int
    crash_at: int

    def act(self, world: World) -> None:
        world.use_another_card(self.which, self.crash_at)


@dataclass(frozen=True)
class Cancel:
    order: int

    def act(self, world: World) -> None:
        world.cancel(self.order)


@dataclass(frozen=True)
class Refund:
    order: int
    cents: int
    by_hand: bool

    def act(self, world: World) -> None:
        if self.by_hand:
            world.refund_at_provider(self.order, self.cents)
        else:
            world.refund(self.order, self.cents)


@dataclass(frozen=True)
class Deliver:
    which: int
    count: int
    crash_at: int
    by_kill: bool

    def act(self, world: World) -> None:
        world.deliver(self.which, crash_at=self.crash_at, by_kill=self.by_kill)
        for _ in range(self.count):
            world.deliver(self.which)


@dataclass(frozen=True)
class DeliverAgain:
    which: int

    def act(self, world: World) -> None:
        world.deliver_again(self.which)


@dataclass(frozen=True)
class DeliverAll:
    def act(self, world: World) -> None:
        world.deliver_all()


@dataclass(frozen=True)
class TellWebhook:
    which: int
    again: bool
    lose: bool
    crash_at: int

    def act(self, world: World) -> None:
        if self.lose:
            world.lose_webhook(self.which)
        else:
            world.tell_webhook(self.which, again=self.again, crash_at=self.crash_at)


@dataclass(frozen=True)
class Settle:
    fault: str
    operation: str
    crash_at: int

    def act(self, world: World) -> None:
        world.settle(fault=self.fault, operation=self.operation, crash_at=self.crash_at)


@dataclass(frozen=True)
class PassTime:
    seconds: int

    def act(self, world: World) -> None:
        world.pass_time(self.seconds)


@dataclass(frozen=True)
class Ring:
    crash_at: int

    def act(self, world: World) -> None:
        world.ring(self.crash_at)


small = st.integers(0, 3)
never_or = st.sampled_from((0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8))
# To be killed costs seconds to start again; most crashes are seen from within.
kills = st.sampled_from((False,) * 19 + (True,))
faults = st.sampled_from(("", "", *FAULTS))
cards = st.sampled_from((GOOD, GOOD, GOOD, BAD, SECURE))

reserve = st.builds(Reserve, st.integers(0, 1), st.integers(0, 1))
pay = st.builds(
    Pay,
    st.integers(0, 1),
    cards,
    faults,
    st.sampled_from(("confirm_intent", "confirm_intent", "create_intent", "any")),
    never_or,
    kills,
)
refund = st.builds(Refund, small, st.sampled_from((100, 1000, 2100, 4200)), st.booleans())
settle = st.builds(
    Settle,
    faults,
    st.sampled_from(("any", "create_refund", "retrieve_intent", "cancel_intent")),
    never_or,
)
deliver = st.builds(Deliver, st.integers(0, 7), st.integers(0, 3), never_or, kills)
webhook = st.builds(TellWebhook, small, st.booleans(), st.booleans(), st.sampled_from((0, 0, 1, 2)))
whole = st.just(DeliverAll())
step = st.one_of(
    reserve,
    *(pay, pay),
    *(deliver, deliver, whole, whole),
    *(settle, settle),
    st.builds(AnswerBank, small, st.booleans(), st.booleans()),
    st.builds(UseAnotherCard, small, never_or),
    st.builds(Cancel, st.integers(0, 1)),
    refund,
    st.builds(DeliverAgain, st.integers(0, 30)),
    webhook,
    st.builds(PassTime, st.sampled_from((1, 12, 61, 500, 901))),
    st.builds(Ring, never_or),
)
# Most of what can go wrong needs an order that is, or is being, paid for.
beginning = st.tuples(reserve, whole, pay, *(step,) * 2).map(list)
scenarios = st.tuples(
    st.integers(1, 2), st.one_of(st.just([]), beginning), st.lists(step, min_size=2, max_size=25)
)

Scenario = tuple[int, list[Any], list[Any]]


def play(stack: Stack, scenario: Scenario) -> None:
    """Let a scenario happen, come to rest, and be held against the promises.

    Raises:
        Violation: a promise was broken.
    """
    tickets, first, then = scenario
    world = World(stack, tickets)
    for each in (*first, *then):
        world.history.append(f"* {each}")
        each.act(world)
    world.come_to_rest()
    check(world)
