"""What a test, or a person at the walk-through, can make go wrong: the next N times."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass

from deploy.sandbox.cards import DECLINES
from deploy.sandbox.errors import ApiError
from deploy.sandbox.objects import Body

REQUEST_FAULTS: dict[str, str] = {
    "timeout_before": "the request is lost: nothing happens, and no answer comes",
    "timeout_after": "the answer is lost: everything happens, and no answer comes",
    "delay": "the request is held for some seconds, then carried out",
    "error_before": "500 without effect, kept under the idempotency key",
    "error_after": "500 after the effect, kept under the idempotency key",
    "decline": "the card is declined, whichever it is",
}
WEBHOOK_FAULTS: dict[str, str] = {
    "drop_webhook": "the event is never delivered",
    "double_webhook": "the event is delivered twice",
    "reorder_webhook": "the event is delivered after those that follow within some seconds",
}


@dataclass
class Fault:
    """A fault to come.

    Args:
        kind: a key of REQUEST_FAULTS or WEBHOOK_FAULTS.
        operation: the operation it waits for (create_intent, confirm_intent, …), the event type
            (payment_intent.succeeded, …), or "any".
        times: how often it strikes.
        seconds: how long a request hangs or is held, or a webhook waits.
        code: the decline code of a decline.
    """

    kind: str
    operation: str = "any"
    times: int = 1
    seconds: float = 0.0
    code: str = "generic_decline"


class Faults:
    """The faults still to come, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, params: Body) -> Fault:
        """Arm a fault from a request's parameters.

        Raises:
            ApiError: there is no such fault, or a parameter is not what it should be.
        """
        try:
            fault = Fault(
                kind=str(params.get("kind", "")),
                operation=str(params.get("operation", "any")),
                times=int(params.get("times", 1)),
                seconds=float(params.get("seconds", 0)),
                code=str(params.get("code", "generic_decline")),
            )
        except (TypeError, ValueError) as exc:
            raise ApiError(400, "times and seconds must be numbers.") from exc
        if fault.kind not in REQUEST_FAULTS | WEBHOOK_FAULTS or fault.code not in DECLINES:
            known = ", ".join(REQUEST_FAULTS | WEBHOOK_FAULTS)
            codes = ", ".join(DECLINES)
            raise ApiError(400, f"kind must be one of: {known}; code one of: {codes}.")
        with self._lock:
            self._faults.append(fault)
        return fault

    def take(self, operation: str, kinds: dict[str, str]) -> Fault | None:
        """Return the first fault of these kinds that waits for the operation; count it down."""
        with self._lock:
            for fault in self._faults:
                if fault.kind in kinds and fault.operation in {"any", operation}:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._faults.remove(fault)
                    return fault
        return None

    def pending(self) -> list[Body]:
        with self._lock:
            return [asdict(fault) for fault in self._faults]

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()
