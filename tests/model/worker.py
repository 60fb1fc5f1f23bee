"""One service in a process of its own, driven line by line: it does what a line of JSON says.

`python -m tests.model.worker`, with DJANGO_SETTINGS_MODULE and what those settings need. Each call
says what time it is, and at which of the points between two steps the process is to die.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import django
from django.utils import timezone


class Clock:
    """The time, as the last call gave it."""

    now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


clock = Clock()
timezone.now = clock
django.setup()

# Only now may anything be imported that looks at the settings or the time.
from django.apps import apps  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.test import Client  # noqa: E402
from django.utils.module_loading import import_string  # noqa: E402

from apps.core.errors import DomainError  # noqa: E402
from apps.outbox import transactions  # noqa: E402
from apps.outbox.codec import Codec  # noqa: E402
from apps.outbox.dead_letters import Record  # noqa: E402
from apps.outbox.models import OutboxEvent  # noqa: E402
from apps.outbox.receiver import Receiver  # noqa: E402
from apps.outbox.records import Row, build_record  # noqa: E402
from apps.outbox.testing.doubles import Crashed, FakeRegistry, crash, kill  # noqa: E402

WAITING = (OutboxEvent.State.PENDING, OutboxEvent.State.CAPTURED)
LABEL = settings.SERVICE_NAME


class Points:
    """The points at which a process may die: around each commit and each call of the provider."""

    def __init__(self) -> None:
        self._left = 0
        self._die: Callable[[], object] = crash

    def arm(self, at: int, *, by_kill: bool) -> None:
        """Die at the at-th point from now; 0 is never."""
        self._left, self._die = at, kill if by_kill else crash

    def reach(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._die()

    def around_commit(self, run: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def call(body: Callable[[], Any]) -> Any:
            def whole() -> Any:
                result = body()
                self.reach()  # all is written, and nothing committed
                return result

            result = run(whole)
            self.reach()  # committed, and nobody knows
            return result

        return call

    def around_calls(self, target: object) -> Any:
        return _Dying(target, self)


class _Dying:
    def __init__(self, target: object, points: Points) -> None:
        self._target, self._points = target, points

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._target, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self._points.reach()
            result = attribute(*args, **kwargs)
            self._points.reach()
            return result

        return call


points = Points()
# The crash is from outside: the code has no hook for it, and so gets one here.
for name in ("_run_on_sql", "_run_on_mongodb"):
    setattr(transactions, name, points.around_commit(getattr(transactions, name)))

codec = Codec(FakeRegistry())
handlers = import_string(settings.EVENT_HANDLERS)
receiver = Receiver(settings.CONSUMER_GROUP, handlers, codec)


def receive(*, record: dict[str, Any]) -> str:
    """Take a record as the consumer would: decode it, and let it take effect once."""
    return receiver.receive(
        Record(
            topic=record["topic"],
            key=record["key"].encode(),
            value=base64.b64decode(record["value"]),
            headers=tuple((name, value.encode()) for name, value in record["headers"]),
            partition=0,
            offset=record["offset"],
        )
    ).value


def prepare() -> None:
    call_command("migrate", verbosity=0)


def reset() -> None:
    """Empty what the scenario before this one has left."""
    models = [
        *apps.get_app_config(LABEL).get_models(),
        *apps.get_app_config("outbox").get_models(),
    ]
    for model in reversed(models):
        model._base_manager.all()._raw_delete(using="default")


def drain() -> list[dict[str, Any]]:
    """Hand out what was committed to the outbox, in its order, as the relay would send it."""
    found = []
    for row in OutboxEvent.objects.filter(state__in=WAITING).order_by("pk"):
        record = build_record(
            Row(
                event_id=row.pk,
                topic=row.topic,
                key=row.key,
                version=row.version,
                type=row.type,
                record=row.record,
                payload=bytes(row.payload),
                headers=row.headers,
                occurred_at=row.occurred_at,
                aggregate_id=row.aggregate_id,
            ),
            codec,
        )
        OutboxEvent.objects.filter(pk=row.pk).update(state=OutboxEvent.State.PUBLISHED)
        found.append(
            {
                "topic": record.topic,
                "key": (record.key or b"").decode(),
                "value": base64.b64encode(record.value or b"").decode(),
                "headers": [[name, (value or b"").decode()] for name, value in record.headers],
                "type": row.type,
                "version": row.version,
                "aggregate": row.aggregate_type,
            }
        )
    return found


def state() -> dict[str, list[dict[str, Any]]]:
    """Return every row of the service."""
    return {
        model.__name__: list(model._base_manager.values())
        for model in apps.get_app_config(LABEL).get_models()
    }


def calls_of_tickets() -> dict[str, Callable[..., Any]]:
    from apps.tickets import services  # noqa: PLC0415

    def list_ticket(*, seller_id: str, price_cents: int) -> str:
        ticket = services.create_ticket(
            seller_id=seller_id, title="A seat", price_cents=price_cents, now=clock()
        )
        return str(ticket.pk)

    return {"list_ticket": list_ticket}


def calls_of_orders() -> dict[str, Callable[..., Any]]:
    from apps.orders import services  # noqa: PLC0415

    def reserve(*, ticket_id: str, buyer_id: str) -> str:
        order = services.create_order(ticket_id=ticket_id, buyer_id=buyer_id, now=clock())
        return str(order.pk)

    def cancel(*, order_id: str, buyer_id: str) -> str:
        order = services.cancel_order(order_id=order_id, buyer_id=buyer_id, now=clock())
        return str(order.status)

    return {"reserve": reserve, "cancel": cancel}


def calls_of_payments() -> dict[str, Callable[..., Any]]:
    from apps.payments import gateway, selectors, services  # noqa: PLC0415
    from apps.payments.management.settler import Settler  # noqa: PLC0415

    provider = points.around_calls(gateway.provider())

    def pay(*, order_id: str, buyer_id: str, card: str) -> dict[str, str]:
        attempt = services.pay_order(
            order_id=order_id, buyer_id=buyer_id, method=card, gateway=provider, clock=clock
        )
        return {"id": str(attempt.pk), "status": str(attempt.status), "url": attempt.action_url}

    def another_card(*, order_id: str, buyer_id: str) -> None:
        services.use_another_card(
            order_id=order_id, buyer_id=buyer_id, gateway=provider, clock=clock
        )

    def come_back(*, order_id: str, buyer_id: str) -> None:
        services.notice_return(order_id=order_id, buyer_id=buyer_id, now=clock())

    def refund(*, order_id: str, amount_cents: int) -> str | None:
        payment = selectors.find_payment(order_id=order_id)
        if payment is None or not payment.paid_payment_id:
            return None
        asked = services.request_refund(
            payment_id=payment.paid_payment_id,
            reason="The seller agreed.",
            requested_by="staff:someone@example.com",
            amount_cents=amount_cents,
            now=clock(),
        )
        return None if asked is None else str(asked.pk)

    def webhook(*, payload: str, signature: str) -> int:
        answer = Client(SERVER_NAME="127.0.0.1").post(
            "/payments/webhook/",
            payload,
            content_type="application/json",
            headers={"Stripe-Signature": signature},
        )
        points.reach()
        return answer.status_code

    def settle() -> bool:
        return Settler(provider, clock=clock).run_once()

    return {
        "pay": pay,
        "another_card": another_card,
        "come_back": come_back,
        "refund": refund,
        "webhook": webhook,
        "settle": settle,
    }


def calls_of_expiration() -> dict[str, Callable[..., Any]]:
    from apps.expiration import services  # noqa: PLC0415

    return {"sweep": lambda: services.sweep_deadlines(now=clock())}


CALLS: dict[str, Callable[..., Any]] = {
    "prepare": prepare,
    "reset": reset,
    "receive": receive,
    "state": state,
    "drained": lambda: None,
    **{
        "tickets": calls_of_tickets,
        "orders": calls_of_orders,
        "payments": calls_of_payments,
        "expiration": calls_of_expiration,
    }[LABEL](),
}


def answer(line: str) -> dict[str, Any]:
    order = json.loads(line)
    clock.now = datetime.fromisoformat(order["now"])
    points.arm(order["crash_at"], by_kill=order["by_kill"])
    try:
        return {"result": CALLS[order["call"]](**order["arguments"])}
    except DomainError as refusal:
        return {"refused": refusal.error_code}
    except Crashed:
        return {"crashed": True}
    except Exception:  # noqa: BLE001 - whatever it is, the scenario must hear of it
        return {"error": traceback.format_exc()}
    finally:
        points.arm(0, by_kill=False)


def main() -> None:
    # What libraries print must not get between the answers.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    if defect := os.environ.get("MODEL_DEFECT"):
        from tests.model.defects import plant  # noqa: PLC0415

        plant(defect)
    for line in sys.stdin:
        reply = answer(line)
        reply["records"] = drain()
        replies.write(json.dumps(reply, default=str) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
