"""The operations: payment methods, payment intents, charges, refunds and the events they make."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from deploy.sandbox import objects
from deploy.sandbox.cards import DECLINES, Decline, find_card
from deploy.sandbox.errors import ApiError, missing, no_such, unexpected_state
from deploy.sandbox.faults import WEBHOOK_FAULTS, Faults
from deploy.sandbox.forms import Params
from deploy.sandbox.objects import Body
from deploy.sandbox.params import (
    amount_of,
    automatic_methods,
    check_allowed_types,
    currency_of,
    flag,
    integer,
    metadata_of,
)
from deploy.sandbox.store import Store

CANCELLABLE = (
    "requires_payment_method",
    "requires_capture",
    "requires_confirmation",
    "requires_action",
    "processing",
)
NOT_AUTHENTICATED = (
    "We are unable to authenticate your payment method. Please choose a different payment method "
    "and try again."
)
CANCELLATION_REASONS = ("duplicate", "fraudulent", "requested_by_customer", "abandoned")
REFUND_REASONS = ("duplicate", "fraudulent", "requested_by_customer")


@dataclass
class Call:
    """One request on its way through an operation."""

    params: Params
    request_id: str
    key: str | None = None
    decline: Decline | None = None
    """Set by a fault: the card is declined, whichever it is."""
    failure: ApiError | None = field(default=None)
    """A refusal with an effect: a declined card leaves a failed charge and must be committed."""
    of_token: Params = field(default_factory=dict)
    """What a confirmation token says, which the request's own parameters overrule."""

    @property
    def said(self) -> Params:
        return self.of_token | self.params


class Provider:
    """Stripe's side of the money. Each method runs in one transaction of the store.

    Args:
        store: where everything is kept.
        faults: those of webhooks are taken here, where events are made.
        delivers: whether there is somebody to deliver webhooks to.
        bank_url: where buyers find the bank's page (bank.py).
    """

    def __init__(self, store: Store, faults: Faults, *, delivers: bool, bank_url: str) -> None:
        self._store = store
        self._faults = faults
        self._delivers = delivers
        self._bank_url = bank_url

    def create_method(self, call: Call) -> Body:
        kind = call.params.get("type")
        if kind is None:
            raise missing("type")
        if kind != "card":
            raise ApiError(400, f"Invalid type: must be card in the sandbox, not {kind}.")
        return self._save(self._method_from_data(call.params, ""))

    def retrieve_method(self, _call: Call, method_id: str) -> Body:
        return self._get("payment_method", "PaymentMethod", method_id, "payment_method")

    def create_confirmation_token(self, call: Call) -> Body:
        """Do what Stripe's form does in a browser, as its test helper does."""
        if not any(name in call.params for name in ("payment_method", "payment_method_data")):
            raise missing("payment_method")
        method = self._method(call.params)
        return self._save(objects.confirmation_token(method, call.params.get("return_url")))

    def retrieve_confirmation_token(self, _call: Call, token_id: str) -> Body:
        return self._get("confirmation_token", "confirmation_token", token_id, "confirmation_token")

    def create_intent(self, call: Call) -> Body:
        params = call.params
        if "payment_method_types" in params:
            raise ApiError(
                400,
                "payment_method_types is no longer supported. Use allowed_payment_method_types, or "
                "leave the choice to the Dashboard.",
                code="payment_method_types_no_longer_supported",
                param="payment_method_types",
            )
        check_allowed_types(params)
        intent = objects.payment_intent(
            params
            | {
                "amount": amount_of(params),
                "currency": currency_of(params),
                "metadata": metadata_of(params),
                "automatic_payment_methods": automatic_methods(params),
            }
        )
        confirmed = flag(params, "confirm")
        if self._takes_method(intent, call):
            intent["status"] = "requires_confirmation"
        elif confirmed:
            raise ApiError(
                400,
                "You cannot confirm this PaymentIntent because it's missing a payment method. "
                "Update the PaymentIntent with a payment method and then confirm it again.",
                code="payment_intent_unexpected_state",
            )
        self._save(intent)
        self._emit("payment_intent.created", intent, call)
        return self._confirm(intent, call) if confirmed else intent

    def confirm_intent(self, call: Call, intent_id: str) -> Body:
        intent = self._get("payment_intent", "payment_intent", intent_id, "intent")
        status = intent["status"]
        if status == "succeeded":
            raise unexpected_state(
                intent,
                "You cannot confirm this PaymentIntent because it has already succeeded "
                "after being previously confirmed.",
            )
        if status not in {"requires_payment_method", "requires_confirmation", "requires_action"}:
            raise unexpected_state(
                intent,
                f"You cannot confirm this PaymentIntent because it has a status of {status}. "
                "Only a PaymentIntent with one of the following statuses may be confirmed: "
                "requires_confirmation, requires_action.",
            )
        self._takes_method(intent, call)
        if intent["payment_method"] is None:
            raise unexpected_state(
                intent,
                "You cannot confirm this PaymentIntent because it's missing a payment method. "
                "You can either update the PaymentIntent with a payment method and then confirm "
                "it again, or confirm it again directly with a payment method.",
            )
        return self._confirm(intent, call)

    def retrieve_intent(self, _call: Call, intent_id: str) -> Body:
        return self._get("payment_intent", "payment_intent", intent_id, "intent")

    def cancel_intent(self, call: Call, intent_id: str) -> Body:
        intent = self._get("payment_intent", "payment_intent", intent_id, "intent")
        reason = call.params.get("cancellation_reason")
        if reason is not None and reason not in CANCELLATION_REASONS:
            known = ", ".join(CANCELLATION_REASONS)
            raise ApiError(400, f"Invalid cancellation_reason: must be one of {known}")
        if intent["status"] not in CANCELLABLE:
            raise unexpected_state(
                intent,
                "You cannot cancel this PaymentIntent because it has a status of "
                f"{intent['status']}. Only a PaymentIntent with one of the following statuses "
                f"may be canceled: {', '.join(CANCELLABLE)}.",
            )
        intent |= {
            "status": "canceled",
            "canceled_at": objects.now(),
            "cancellation_reason": reason,
            "next_action": None,
        }
        self._save(intent)
        self._emit("payment_intent.canceled", intent, call)
        return intent

    def authenticate(self, call: Call, intent_id: str, *, approved: bool) -> Body:
        """Take the buyer's word to the bank about a payment that waits for it; else do nothing."""
        intent = self._get("payment_intent", "payment_intent", intent_id, "intent")
        if intent["status"] != "requires_action":
            return intent
        method = self._get("payment_method", "PaymentMethod", intent["payment_method"], "id")
        if approved:
            return self._charge(intent, method, None, call)
        intent |= {
            "status": "requires_payment_method",
            "payment_method": None,
            "next_action": None,
            "last_payment_error": {
                "code": "payment_intent_authentication_failure",
                "doc_url": "https://stripe.com/docs/error-codes/payment-intent-authentication-failure",
                "message": NOT_AUTHENTICATED,
                "payment_method": method,
                "type": "invalid_request_error",
            },
        }
        self._save(intent)
        self._emit("payment_intent.payment_failed", intent, call)
        return intent

    def retrieve_charge(self, _call: Call, charge_id: str) -> Body:
        return self._get("charge", "charge", charge_id, "charge")

    def create_refund(self, call: Call) -> Body:
        charged = self._charge_to_refund(call.params)
        left = charged["amount"] - charged["amount_refunded"]
        if left <= 0:
            raise ApiError(
                400,
                f"Charge {charged['id']} has already been refunded.",
                code="charge_already_refunded",
                stored=True,
            )
        reason = call.params.get("reason")
        if reason is not None and reason not in REFUND_REASONS:
            raise ApiError(400, f"Invalid reason: must be one of {', '.join(REFUND_REASONS)}")
        amount = integer(call.params, "amount") if "amount" in call.params else left
        if amount <= 0:
            raise ApiError(400, "Invalid positive integer", param="amount")
        if amount > left:
            whole = "unrefunded amount on charge" if charged["amount_refunded"] else "charge amount"
            raise ApiError(
                400,
                f"Refund amount (${amount / 100:.2f}) is greater than {whole} (${left / 100:.2f})",
                param="amount",
                stored=True,
            )
        refund = objects.refund(charged, amount, reason, metadata_of(call.params))
        self._save(refund, parent=charged["payment_intent"])
        charged["amount_refunded"] += amount
        charged["refunded"] = charged["amount_refunded"] == charged["amount"]
        self._save(charged, parent=charged["payment_intent"])
        self._emit("refund.created", refund, call)
        self._emit("charge.refunded", charged, call)
        return refund

    def retrieve_refund(self, _call: Call, refund_id: str) -> Body:
        return self._get("refund", "refund", refund_id, "id")

    def retrieve_dispute(self, _call: Call, dispute_id: str) -> Body:
        return self._get("dispute", "dispute", dispute_id, "dispute")

    def update_dispute(self, call: Call, dispute_id: str) -> Body:
        """Take evidence; as in Stripe's test mode, its words say how the bank decides."""
        dispute = self._get("dispute", "dispute", dispute_id, "dispute")
        evidence = call.params.get("evidence", {})
        words = evidence.get("uncategorized_text", "") if isinstance(evidence, dict) else ""
        status = {"winning_evidence": "won", "losing_evidence": "lost"}.get(words, "under_review")
        return self._decide(dispute, status, call)

    def close_dispute(self, call: Call, dispute_id: str) -> Body:
        dispute = self._get("dispute", "dispute", dispute_id, "dispute")
        return self._decide(dispute, "lost", call)

    def retrieve_event(self, _call: Call, event_id: str) -> Body:
        return self._get("event", "event", event_id, "id")

    def page(self, kind: str, url: str, params: Params) -> Body:
        """Return a page of objects, newest first, as every list endpoint of Stripe does."""
        limit = integer(params, "limit") if "limit" in params else 10
        if not 1 <= limit <= 100:  # noqa: PLR2004 - Stripe's own bounds
            raise ApiError(400, "Invalid limit: must be between 1 and 100.", param="limit")
        cursors = {name: str(params.get(name, "")) for name in ("starting_after", "ending_before")}
        for name, cursor in cursors.items():
            if cursor and self._store.find(kind, cursor) is None:
                raise no_such(kind, cursor, name, 400)
        bodies, more = self._store.page(
            kind,
            limit=limit,
            after=cursors["starting_after"],
            before=cursors["ending_before"],
            parent=str(params.get("payment_intent", "")),
            since=_since(params),
        )
        return objects.listing(url, bodies, has_more=more)

    def _decide(self, dispute: Body, status: str, call: Call) -> Body:
        if dispute["status"] not in {"needs_response", "under_review"}:
            raise ApiError(400, "This dispute is already closed.", code="dispute_already_closed")
        dispute["status"] = status
        self._save(dispute)
        kind = "updated" if status == "under_review" else "closed"
        self._emit(f"charge.dispute.{kind}", dispute, call)
        return dispute

    def _confirm(self, intent: Body, call: Call) -> Body:
        """Charge the intent's payment method; a decline is left in `call.failure`."""
        if intent["automatic_payment_methods"] and not (
            "return_url" in call.said
            or intent["automatic_payment_methods"].get("allow_redirects") == "never"
        ):
            raise ApiError(
                400,
                "This PaymentIntent is configured to accept payment methods enabled in your "
                "Dashboard. Because some of these payment methods might redirect your customer "
                "off of your page, you must provide a `return_url`.",
                param="return_url",
                stored=True,
            )
        if intent["automatic_payment_methods"] and flag(call.said, "error_on_requires_action"):
            raise ApiError(
                400,
                "error_on_requires_action cannot be used with automatic_payment_methods.",
                param="error_on_requires_action",
                stored=True,
            )
        method = self._get("payment_method", "PaymentMethod", intent["payment_method"], "id")
        card = objects.card_behind(method)
        decline = call.decline or card.decline
        if card.needs_authentication and decline is None:
            if not flag(call.said, "error_on_requires_action"):
                return self._ask_for_authentication(intent, call)
            decline = DECLINES["authentication_required"]
        return self._charge(intent, method, decline, call)

    def _charge(self, intent: Body, method: Body, decline: Decline | None, call: Call) -> Body:
        charged = objects.charge(intent, method, objects.card_behind(method), decline)
        self._save(charged, parent=intent["id"])
        intent |= {"latest_charge": charged["id"], "next_action": None}
        if decline is not None:
            return self._decline(intent, method, charged, decline, call)
        intent |= {
            "status": "succeeded",
            "amount_received": intent["amount"],
            "last_payment_error": None,
        }
        self._save(intent)
        self._emit("charge.succeeded", charged, call)
        self._emit("payment_intent.succeeded", intent, call)
        if objects.card_behind(method).is_disputed:
            dispute = self._save(objects.dispute(charged), parent=intent["id"])
            self._emit("charge.dispute.created", dispute, call)
        return intent

    def _decline(
        self, intent: Body, method: Body, charged: Body, decline: Decline, call: Call
    ) -> Body:
        fields: Body = {
            "charge": charged["id"],
            "code": decline.code,
            "decline_code": decline.decline_code,
            "payment_method": method,
        }
        intent |= {
            "status": "requires_payment_method",
            "payment_method": None,
            "last_payment_error": {
                **fields,
                "advice_code": "try_again_later",
                "doc_url": f"https://stripe.com/docs/error-codes/{decline.code}",
                "message": decline.message,
                "type": "card_error",
            },
        }
        self._save(intent)
        self._emit("charge.failed", charged, call)
        self._emit("payment_intent.payment_failed", intent, call)
        call.failure = ApiError(
            402, decline.message, kind="card_error", stored=True, payment_intent=intent, **fields
        )
        return intent

    def _ask_for_authentication(self, intent: Body, call: Call) -> Body:
        back = call.said.get("return_url")
        page = f"{self._bank_url}/{intent['id']}?client_secret={intent['client_secret']}"
        intent |= {
            "status": "requires_action",
            "next_action": {
                "type": "redirect_to_url",
                "redirect_to_url": {"return_url": back, "url": page},
            }
            if back and not flag(call.said, "use_stripe_sdk")
            else {"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect"}},
        }
        self._save(intent)
        self._emit("payment_intent.requires_action", intent, call)
        return intent

    def _takes_method(self, intent: Body, call: Call) -> bool:
        """Give the intent the payment method that a request names, if any; tell whether it does."""
        if (token_id := call.params.get("confirmation_token")) is not None:
            token = self._get("confirmation_token", "ConfirmationToken", str(token_id), "id", 400)
            if token["payment_intent"] not in {None, intent["id"]}:
                raise ApiError(400, "This ConfirmationToken has already been used.")
            self._save(token | {"payment_intent": intent["id"]})
            preview = token["payment_method_preview"]
            card = objects.card_behind(preview)
            method = self._save(objects.payment_method(card, {}, preview["billing_details"]))
            of_token = {name: token[name] for name in ("return_url", "use_stripe_sdk")}
            said = {name: value for name, value in of_token.items() if value is not None}
            call.of_token = {"payment_method": method["id"]} | said
        if "payment_method" in call.said or "payment_method_data" in call.said:
            intent["payment_method"] = self._method(call.said)["id"]
            return True
        return False

    def _method(self, params: Params) -> Body:
        """Return the payment method that a request names: pm_…, a test one, or its data."""
        if (data := params.get("payment_method_data")) is not None:
            if not isinstance(data, dict) or data.get("type") != "card":
                raise ApiError(400, "Invalid payment_method_data: its type must be card.")
            return self._save(self._method_from_data(data, "payment_method_data"))
        name = str(params["payment_method"])
        if (card := find_card(name, "pm_card_")) is not None:
            return self._save(objects.payment_method(card, {}, {}))
        return self._get("payment_method", "PaymentMethod", name, "payment_method", 400)

    def _method_from_data(self, data: Params, prefix: str) -> Body:
        card = data.get("card")
        if not isinstance(card, dict):
            raise missing("card")
        if "number" in card:
            raise ApiError(
                402,
                "Sending credit card numbers directly to the Stripe API is generally unsafe. We "
                "suggest you use test tokens that map to the test card you are using, see "
                "https://stripe.com/docs/testing.",
            )
        param = f"{prefix}[card][token]" if prefix else "card[token]"
        token = str(card.get("token", ""))
        found = find_card(token, "tok_")
        if found is None:
            raise no_such("token", token, param, 400)
        billing = data.get("billing_details", {})
        return objects.payment_method(
            found, metadata_of(data), billing if isinstance(billing, dict) else {}
        )

    def _charge_to_refund(self, params: Params) -> Body:
        if "charge" in params:
            return self._get("charge", "charge", str(params["charge"]), "charge", 400)
        if "payment_intent" not in params:
            raise ApiError(
                400,
                "One of the following params should be provided for this request: "
                "payment_intent or charge.",
            )
        intent_id = str(params["payment_intent"])
        intent = self._get("payment_intent", "payment_intent", intent_id, "payment_intent", 400)
        if intent["status"] != "succeeded":
            raise ApiError(
                400,
                f"This PaymentIntent ({intent_id}) does not have a successful charge to refund.",
                param="payment_intent",
                stored=True,
            )
        return self._get("charge", "charge", intent["latest_charge"], "charge")

    def _get(self, kind: str, words: str, object_id: str, param: str, status: int = 404) -> Body:
        body = self._store.find(kind, object_id)
        if body is None:
            raise no_such(words, object_id, param, status)
        return body

    def _save(self, body: Body, parent: str = "") -> Body:
        self._store.put(body, parent)
        return body

    def _emit(self, kind: str, body: Body, call: Call) -> None:
        """Make an event, and its delivery unless a fault swallows it."""
        event = objects.event(kind, body, call.request_id, call.key)
        self._store.put(event)
        if not self._delivers:
            return
        fault = self._faults.take(kind, WEBHOOK_FAULTS)
        due = time.time()
        if fault is not None and fault.kind == "drop_webhook":
            return
        if fault is not None and fault.kind == "reorder_webhook":
            due += fault.seconds or 1.0
        self._store.add_delivery(event["id"], due)
        if fault is not None and fault.kind == "double_webhook":
            self._store.add_delivery(event["id"], due + fault.seconds)


def _since(params: Params) -> int:
    """Return the time from which objects are wanted: created[gte], as Stripe's lists have it."""
    window = params.get("created", {})
    if not isinstance(window, dict) or set(window) - {"gte"}:
        raise ApiError(400, "The sandbox knows created[gte] alone.", param="created")
    return integer(window, "gte") if window else 0
