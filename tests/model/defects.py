"""Bugs to plant in a worker, each one that a real system had: the model must find them all."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apps.payments.gateway import Gateway, Intent


def release_whoever_holds_it() -> None:
    """A late end of one order frees the ticket of the next."""
    from apps.tickets.models import Ticket  # noqa: PLC0415

    def release(ticket: Any, _order_id: str, *, at: datetime) -> bool:
        if not ticket.holds:
            return False
        ticket.status = Ticket.Status.RESERVED
        ticket._end_hold(ticket.holds[0], at)
        return True

    Ticket.release = release


def charge_again_when_unsure() -> None:
    """A lost answer is taken for a failure, and the card is charged anew under another key."""
    from apps.payments.gateway import ProviderUnsure  # noqa: PLC0415
    from apps.payments.services import paying  # noqa: PLC0415

    drive = paying._drive

    class Eager:
        def __init__(self, gateway: Gateway) -> None:
            self._gateway = gateway
            self._asked: dict[str, Any] = {}

        def __getattr__(self, name: str) -> Any:
            return getattr(self._gateway, name)

        def create_intent(self, **asked: Any) -> Intent:
            self._asked = asked
            return self._gateway.create_intent(**asked)

        def confirm_intent(self, **asked: Any) -> Intent:
            try:
                return self._gateway.confirm_intent(**asked)
            except ProviderUnsure:
                key = str(uuid.uuid4())
                again = self._gateway.create_intent(**self._asked | {"key": key})
                return self._gateway.confirm_intent(
                    **asked | {"key": f"{key}:confirm", "intent_id": again.id}
                )

    paying._drive = lambda attempt, gateway, clock: drive(attempt, Eager(gateway), clock)


def refund_again_when_unsure() -> None:
    """A refund whose answer was lost is given anew, under another key and without a look."""
    from apps.payments.services import refunding  # noqa: PLC0415

    settle = refunding.settle_refunds

    class Forgetful:
        def __init__(self, gateway: Gateway) -> None:
            self._gateway = gateway

        def __getattr__(self, name: str) -> Any:
            return getattr(self._gateway, name)

        def list_refunds(self, **_asked: Any) -> list[Any]:
            return []

        def refund_intent(self, **asked: Any) -> Any:
            return self._gateway.refund_intent(**asked | {"key": str(uuid.uuid4())})

    def settle_refunds(*, attempt: Any, gateway: Gateway, clock: Any) -> None:
        settle(attempt=attempt, gateway=Forgetful(gateway), clock=clock)

    from apps.payments import services  # noqa: PLC0415

    services.settle_refunds = settle_refunds


def answer_webhooks_without_storing() -> None:
    """The provider is told that its news arrived, and it did not."""
    from apps.payments import services  # noqa: PLC0415

    services.store_webhook = lambda **_: True


def ignore_late_money() -> None:
    """A payment for an order that was cancelled changes nothing, and nobody gives it back."""
    from apps.orders import services  # noqa: PLC0415
    from apps.orders.models import Order  # noqa: PLC0415

    record = services.record_payment

    def record_payment(*, payment: Any, now: datetime) -> None:
        if not Order.objects.get(pk=payment.order_id).is_cancelled:
            record(payment=payment, now=now)

    services.record_payment = record_payment


DEFECTS: dict[str, tuple[str, Callable[[], None]]] = {
    "release_whoever_holds_it": ("tickets", release_whoever_holds_it),
    "charge_again_when_unsure": ("payments", charge_again_when_unsure),
    "refund_again_when_unsure": ("payments", refund_again_when_unsure),
    "answer_webhooks_without_storing": ("payments", answer_webhooks_without_storing),
    "ignore_late_money": ("orders", ignore_late_money),
}
"""By name: the service that has it, and what plants it."""


def plant(name: str) -> None:
    DEFECTS[name][1]()
