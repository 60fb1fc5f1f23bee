from __future__ import annotations

from dataclasses import replace
from typing import Any

from apps.payments.gateway import Intent, ProviderDispute, ProviderRefund


class FakeGateway:
    """A provider in memory: says what it is told to say, and counts the money.

    Args:
        answers: by operation, what it does next: an exception to raise instead of acting, or
            ("after", exception) to act and then raise; used up from the front.
        amount: what is taken instead of what was asked for.
        decline: the decline code of every card; "" takes them all.
        needs_buyer: whether the bank asks for 3-D Secure, without a page for it.
    """

    def __init__(self, decline: str = "") -> None:
        self.decline = decline
        self.amount = 0
        self.needs_buyer = False
        self.answers: dict[str, list[Any]] = {}
        self.intents: dict[str, Intent] = {}
        self.keys: dict[str, Any] = {}
        self.charges: list[str] = []
        self.refunds: list[str] = []
        self.disputes: dict[str, ProviderDispute] = {}
        self.given: dict[str, list[ProviderRefund]] = {}
        self.calls: list[str] = []

    def create_method(self, *, token: str, key: str) -> str:
        return str(self._once("create_method", key, lambda: f"pm_of_{token}"))

    def create_intent(
        self, *, amount_cents: int, currency: str, metadata: dict[str, str], key: str
    ) -> Intent:
        def create() -> Intent:
            intent_id = f"pi_{metadata['payment_id']}"
            intent = Intent(
                id=intent_id,
                status="requires_payment_method",
                amount_cents=amount_cents,
                currency=currency,
                payment_id=metadata["payment_id"],
            )
            self.intents[intent_id] = intent
            return intent

        intent: Intent = self._once("create_intent", key, create)
        return intent

    def confirm_intent(self, *, intent_id: str, method: str, key: str, **_more: str) -> Intent:
        def confirm() -> Intent:
            intent = self.intents[intent_id]
            if intent.is_paid or intent.is_cancelled:
                return intent
            if self.needs_buyer:
                return self._put(replace(intent, status="requires_action"))
            if self.decline:
                return self._put(
                    replace(intent, failure_code=self.decline, failure_message=f"No: {method}")
                )
            self.charges.append(intent_id)
            amount = self.amount or intent.amount_cents
            return self._put(replace(intent, status="succeeded", amount_cents=amount))

        intent: Intent = self._once("confirm_intent", key, confirm)
        return intent

    def retrieve_intent(self, *, intent_id: str) -> Intent:
        intent: Intent = self._once("retrieve_intent", "", lambda: self.intents[intent_id])
        return intent

    def cancel_intent(self, *, intent_id: str) -> Intent:
        def cancel() -> Intent:
            intent = self.intents[intent_id]
            return intent if intent.is_paid else self._put(replace(intent, status="canceled"))

        intent: Intent = self._once("cancel_intent", "", cancel)
        return intent

    def list_refunds(self, *, intent_id: str) -> list[ProviderRefund]:
        given: list[ProviderRefund] = self._once(
            "list_refunds", "", lambda: list(self.given.get(intent_id, []))
        )
        return given

    def refund_intent(
        self, *, intent_id: str, amount_cents: int, metadata: dict[str, str], key: str
    ) -> ProviderRefund:
        def refund() -> ProviderRefund:
            self.refunds.append(intent_id)
            given = self.given.setdefault(intent_id, [])
            given.append(
                ProviderRefund(
                    id=f"re_{len(given)}_{intent_id}",
                    status="succeeded",
                    amount_cents=amount_cents,
                    refund_id=metadata["refund_id"],
                )
            )
            return given[-1]

        answer: ProviderRefund = self._once("refund_intent", key, refund)
        return answer

    def retrieve_dispute(self, *, dispute_id: str) -> ProviderDispute:
        dispute: ProviderDispute = self._once(
            "retrieve_dispute", "", lambda: self.disputes[dispute_id]
        )
        return dispute

    def list_intents(self, **_: Any) -> list[Any]:
        listed: list[Any] = self._once("list_intents", "", list)
        return listed

    def put_status(self, intent_id: str, status: str) -> Intent:
        """Let the provider change its mind by itself."""
        return self._put(replace(self.intents[intent_id], status=status))

    def _put(self, intent: Intent) -> Intent:
        self.intents[intent.id] = intent
        return intent

    def _once(self, operation: str, key: str, act: Any) -> Any:
        self.calls.append(operation)
        answer = self.answers[operation].pop(0) if self.answers.get(operation) else None
        if isinstance(answer, Exception):
            raise answer
        result = self.keys[key] if key in self.keys else act()
        if key:
            self.keys[key] = result
        if answer is not None:
            raise answer[1]
        return result
