"""The provider: what payments asks of it, and Stripe's answers.

An answer that did not come is neither success nor failure. So every call ends in one of three
ways: a fact (a value), a refusal without effect (ProviderRefused), or ProviderUnsure, after which
only asking again tells. The library's own retries are off: whoever calls knows what a retry means.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Protocol

import orjson
import stripe
import structlog
from django.conf import settings

from apps.core.errors import Invalid
from apps.payments.metrics import BadInput

API_VERSION = "2026-10-28.endive"
"""Pinned, so that a change of the account's default version changes nothing here."""
STRIPE = "https://api.stripe.com"
STRIPE_JS = "https://js.stripe.com/endive/stripe.js"
"""Stripe's script of the same release, which may be loaded from there alone."""
STRIPE_SOURCES = (
    "script-src 'self' https://js.stripe.com https://*.js.stripe.com; "
    "frame-src 'self' https://js.stripe.com https://*.js.stripe.com https://hooks.stripe.com; "
    "connect-src 'self' https://api.stripe.com"
)
"""What Stripe's form needs of a content security policy (docs.stripe.com/security/guide)."""
LIVE_KEY = "sk_live_"
METHOD, CONFIRMATION_TOKEN = "pm_", "ctoken_"
"""What an intent is confirmed with as it is; a token (tok_…) is made a payment method first."""
CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 8.0
UNREFUNDED = frozenset({"failed", "canceled"})
WEBHOOK_TOLERANCE_SECONDS = 300
LONGEST_PAGE = 100
DISPUTES_CLOSED = frozenset({"won", "lost", "warning_closed", "prevented"})

log = structlog.get_logger(__name__)


class ProviderUnsure(Exception):
    """Nobody knows whether it happened: no answer, a 5xx, too busy, or the same key in use."""


class KeyInUse(ProviderUnsure):
    """Another request with this key is under way, whose outcome is this one's, too."""


class KeyReused(ProviderUnsure):
    """This idempotency key was used for something else before: that may have happened."""


class ProviderRefused(Exception):
    """The provider said no, and nothing happened.

    Args:
        code: the provider's own.
        message: in its words, for the buyer.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class WebhookRefused(Invalid):
    """Not signed by the provider, or not readable."""

    code = "webhook_refused"

    def __init__(self, message: str, reason: BadInput) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Intent:
    """A payment intent as far as it concerns us.

    Args:
        id: pi_…
        status: Stripe's word for it.
        amount_cents: what is, or was, to be paid.
        currency: lower case.
        payment_id: the attempt that had it made, as the provider remembers it.
        failure_code: why the last confirmation failed: the decline code where there is one.
        failure_message: the same in words for the buyer.
        action_url: where the buyer confirms the payment with the bank, if that is asked for.
    """

    id: str
    status: str
    amount_cents: int
    currency: str
    payment_id: str = ""
    failure_code: str = ""
    failure_message: str = ""
    action_url: str = ""

    @property
    def is_paid(self) -> bool:
        return self.status == "succeeded"

    @property
    def is_cancelled(self) -> bool:
        return self.status == "canceled"

    @property
    def is_declined(self) -> bool:
        return self.status == "requires_payment_method" and bool(self.failure_code)

    @property
    def needs_buyer(self) -> bool:
        """The bank wants the buyer to confirm it (3-D Secure)."""
        return self.status == "requires_action"

    @property
    def is_decided(self) -> bool:
        return self.is_paid or self.is_cancelled or self.is_declined

    @property
    def is_under_way(self) -> bool:
        """The bank is deciding, and the intent cannot be cancelled meanwhile."""
        return self.status == "processing"


@dataclass(frozen=True, kw_only=True)
class ProviderRefund:
    """A refund as the provider has it.

    Args:
        id: re_…
        status: Stripe's word for it.
        amount_cents: what it gives back.
        refund_id: our own id of it; empty for one that somebody asked for in the dashboard.
        failure_reason: why it failed, in the provider's word.
    """

    id: str
    status: str
    amount_cents: int
    refund_id: str = ""
    failure_reason: str = ""

    @property
    def is_done(self) -> bool:
        return self.status == "succeeded"

    @property
    def is_failed(self) -> bool:
        return self.status in UNREFUNDED


@dataclass(frozen=True, kw_only=True)
class ProviderDispute:
    """A dispute as the provider has it.

    Args:
        id: dp_… or du_….
        status: Stripe's word for it.
        amount_cents: what is disputed.
        currency: lower case.
        reason: Stripe's word for why.
        intent_id: the payment it is about.
        evidence_due_at: until when we may answer it.
    """

    id: str
    status: str
    amount_cents: int
    currency: str
    reason: str
    intent_id: str
    evidence_due_at: datetime | None = None

    @property
    def is_closed(self) -> bool:
        return self.status in DISPUTES_CLOSED


@dataclass(frozen=True, kw_only=True)
class ListedIntent:
    """A payment intent in a list: whose it is, and what came of it."""

    id: str
    status: str
    amount_cents: int
    currency: str
    order_id: str
    payment_id: str
    created_at: datetime

    @property
    def is_paid(self) -> bool:
        return self.status == "succeeded"


@dataclass(frozen=True, kw_only=True)
class ListedRefund(ProviderRefund):
    """A refund in a list of those of all payments."""

    intent_id: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class ListedDispute(ProviderDispute):
    """A dispute in a list of those of all payments."""

    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """A signed message of the provider."""

    id: str
    type: str
    created_at: datetime
    intent_id: str
    payment_id: str
    payload: str


class Gateway(Protocol):
    """What payments asks of a provider. Each call raises ProviderUnsure and ProviderRefused."""

    def create_method(self, *, token: str, key: str) -> str:
        """Return the payment method (pm_…) behind a token (tok_…)."""
        ...

    def create_intent(
        self, *, amount_cents: int, currency: str, metadata: dict[str, str], key: str
    ) -> Intent:
        """Announce a payment; no money moves."""
        ...

    def confirm_intent(self, *, intent_id: str, method: str, return_url: str, key: str) -> Intent:
        """Take the money, by a payment method (pm_…) or what Stripe's form gave (ctoken_…).

        A declined card is an answer, not an exception.
        """
        ...

    def retrieve_intent(self, *, intent_id: str) -> Intent: ...

    def cancel_intent(self, *, intent_id: str) -> Intent:
        """Make sure that no money moves any more; return the intent, which may be paid already."""
        ...

    def list_refunds(self, *, intent_id: str) -> list[ProviderRefund]:
        """Return all refunds of a payment, whoever asked for them, the oldest first."""
        ...

    def refund_intent(
        self, *, intent_id: str, amount_cents: int, metadata: dict[str, str], key: str
    ) -> ProviderRefund:
        """Give so much of a payment back, once under one key."""
        ...

    def retrieve_dispute(self, *, dispute_id: str) -> ProviderDispute: ...

    def list_intents(self, *, since: datetime | None) -> Iterator[ListedIntent]:
        """Yield all payment intents, or those made since then."""
        ...

    def list_all_refunds(self, *, since: datetime | None) -> Iterator[ListedRefund]:
        """Yield the refunds of all payments, or those made since then."""
        ...

    def list_disputes(self, *, since: datetime | None) -> Iterator[ListedDispute]:
        """Yield the disputes of all payments, or those opened since then."""
        ...


class StripeGateway:
    """Stripe, or whatever speaks its API at `api_base`.

    Args:
        key: the secret key.
        api_base: https://api.stripe.com, or the sandbox's address.
        timeout: seconds to connect, and to wait for an answer.
    """

    def __init__(
        self,
        *,
        key: str,
        api_base: str,
        timeout: tuple[float, float] = (CONNECT_SECONDS, ANSWER_SECONDS),
    ) -> None:
        self._stripe = stripe.StripeClient(
            key,
            stripe_version=API_VERSION,
            base_addresses={"api": api_base},
            max_network_retries=0,
            http_client=stripe.RequestsClient(timeout=timeout),
        ).v1

    def create_method(self, *, token: str, key: str) -> str:
        with _translated():
            method = self._stripe.payment_methods.create(
                {"type": "card", "card": {"token": token}}, {"idempotency_key": key}
            )
        return method.id

    def create_intent(
        self, *, amount_cents: int, currency: str, metadata: dict[str, str], key: str
    ) -> Intent:
        with _translated():
            intent = self._stripe.payment_intents.create(
                {
                    "amount": amount_cents,
                    "currency": currency,
                    "metadata": metadata,
                    "allowed_payment_method_types": ["card"],
                },
                {"idempotency_key": key},
            )
        return _intent(intent)

    def confirm_intent(self, *, intent_id: str, method: str, return_url: str, key: str) -> Intent:
        try:
            with _translated():
                intent = self._stripe.payment_intents.confirm(
                    intent_id, _confirmation(method, return_url), {"idempotency_key": key}
                )
        except _IntentInstead as answer:
            return answer.intent
        return _intent(intent)

    def retrieve_intent(self, *, intent_id: str) -> Intent:
        with _translated():
            return _intent(self._stripe.payment_intents.retrieve(intent_id))

    def cancel_intent(self, *, intent_id: str) -> Intent:
        try:
            with _translated():
                return _intent(self._stripe.payment_intents.cancel(intent_id))
        except _IntentInstead as answer:
            return answer.intent

    def list_refunds(self, *, intent_id: str) -> list[ProviderRefund]:
        with _translated():
            found = self._stripe.refunds.list({"payment_intent": intent_id, "limit": LONGEST_PAGE})
            refunds = [_refund(refund) for refund in found.auto_paging_iter()]
        return refunds[::-1]

    def refund_intent(
        self, *, intent_id: str, amount_cents: int, metadata: dict[str, str], key: str
    ) -> ProviderRefund:
        with _translated():
            refund = self._stripe.refunds.create(
                {"payment_intent": intent_id, "amount": amount_cents, "metadata": metadata},
                {"idempotency_key": key},
            )
        return _refund(refund)

    def retrieve_dispute(self, *, dispute_id: str) -> ProviderDispute:
        with _translated():
            return ProviderDispute(**_dispute(self._stripe.disputes.retrieve(dispute_id)))

    def list_intents(self, *, since: datetime | None) -> Iterator[ListedIntent]:
        with _translated():
            found = self._stripe.payment_intents.list(_window(since))
            for each in found.auto_paging_iter():
                metadata = each.metadata.to_dict()
                yield ListedIntent(
                    id=each.id,
                    status=each.status,
                    amount_cents=each.amount,
                    currency=each.currency,
                    order_id=metadata.get("order_id", ""),
                    payment_id=metadata.get("payment_id", ""),
                    created_at=datetime.fromtimestamp(each.created, tz=UTC),
                )

    def list_all_refunds(self, *, since: datetime | None) -> Iterator[ListedRefund]:
        with _translated():
            for each in self._stripe.refunds.list(_window(since)).auto_paging_iter():
                yield ListedRefund(
                    **vars(_refund(each)),
                    intent_id=_id_of(each.payment_intent),
                    created_at=datetime.fromtimestamp(each.created, tz=UTC),
                )

    def list_disputes(self, *, since: datetime | None) -> Iterator[ListedDispute]:
        with _translated():
            for each in self._stripe.disputes.list(_window(since)).auto_paging_iter():
                created_at = datetime.fromtimestamp(each.created, tz=UTC)
                yield ListedDispute(**_dispute(each), created_at=created_at)


class _IntentInstead(Exception):
    """An error that tells what became of the intent: declined, paid or cancelled before."""

    def __init__(self, intent: Intent) -> None:
        super().__init__(intent.status)
        self.intent = intent


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the library's exceptions into the three ways in which a call can end."""
    try:
        yield
    except (stripe.CardError, stripe.InvalidRequestError) as exc:
        error: Any = exc.error
        if (intent := getattr(error, "payment_intent", None)) is not None:
            raise _IntentInstead(_intent(intent)) from exc
        code = getattr(error, "decline_code", None) or exc.code or "invalid_request"
        raise ProviderRefused(code, exc.user_message or "The payment was refused.") from exc
    except stripe.IdempotencyError as exc:
        raise KeyReused(str(exc)) from exc
    except (stripe.AuthenticationError, stripe.PermissionError) as exc:
        # Nothing that the buyer did: the operator's key is wrong. The payment waits for a new one.
        log.error("the provider does not accept STRIPE_KEY", why=str(exc))  # noqa: TRY400
        raise ProviderUnsure(str(exc)) from exc
    except stripe.StripeError as exc:
        if exc.http_status == HTTPStatus.CONFLICT:
            raise KeyInUse(str(exc)) from exc
        raise ProviderUnsure(f"{type(exc).__name__}: {exc.user_message or exc}") from exc


def _intent(body: Any) -> Intent:  # noqa: ANN401 - the library's PaymentIntent, or an error's copy
    error = body.last_payment_error
    redirect = getattr(body.next_action, "redirect_to_url", None) if body.next_action else None
    return Intent(
        id=body.id,
        status=body.status,
        amount_cents=body.amount,
        currency=body.currency,
        payment_id=body.metadata.to_dict().get("payment_id", "") if body.metadata else "",
        failure_code=(getattr(error, "decline_code", None) or error.code or "") if error else "",
        failure_message=(error.message or "") if error else "",
        action_url=(redirect.url or "") if redirect else "",
    )


def _confirmation(method: str, return_url: str) -> Any:  # noqa: ANN401 - the library's parameters
    if method.startswith(CONFIRMATION_TOKEN):
        # By itself such a token leaves 3-D Secure to the browser; here the bank's page is led to.
        means = {"confirmation_token": method, "use_stripe_sdk": False}
    else:
        means = {"payment_method": method}
    return means | {"return_url": return_url}


def _refund(body: Any) -> ProviderRefund:  # noqa: ANN401 - the library's Refund
    metadata = body.metadata.to_dict() if body.metadata else {}
    return ProviderRefund(
        id=body.id,
        status=body.status or "pending",
        amount_cents=body.amount,
        refund_id=metadata.get("refund_id", ""),
        failure_reason=getattr(body, "failure_reason", None) or "",
    )


def _dispute(body: Any) -> dict[str, Any]:  # noqa: ANN401 - the library's Dispute
    due = body.evidence_details.due_by
    return {
        "id": body.id,
        "status": body.status,
        "amount_cents": body.amount,
        "currency": body.currency,
        "reason": body.reason,
        "intent_id": _id_of(body.payment_intent),
        "evidence_due_at": datetime.fromtimestamp(due, tz=UTC) if due else None,
    }


def _window(since: datetime | None) -> Any:  # noqa: ANN401 - the parameters of any list
    return {"limit": LONGEST_PAGE} | ({"created": {"gte": int(since.timestamp())}} if since else {})


def _id_of(reference: Any) -> str:  # noqa: ANN401 - an id, an object in its place, or nothing
    return str(getattr(reference, "id", reference) or "")


def read_webhook(body: bytes, signature: str) -> Webhook:
    """Return a webhook that the provider has signed within the last minutes.

    Raises:
        WebhookRefused: it has not, or the body is no event.
    """
    try:
        text = body.decode()
        _verify(text, signature)
        event: dict[str, Any] = orjson.loads(text)
        subject: dict[str, Any] = event["data"]["object"]
        is_intent = subject.get("object") == "payment_intent"
        return Webhook(
            id=str(event["id"]),
            type=str(event["type"]),
            created_at=datetime.fromtimestamp(int(event["created"]), tz=UTC),
            intent_id=str(subject["id"] if is_intent else subject.get("payment_intent") or ""),
            payment_id=str((subject.get("metadata") or {}).get("payment_id", "")),
            payload=text,
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as exc:
        raise WebhookRefused("The body is not an event.", BadInput.WEBHOOK_UNREADABLE) from exc


def _verify(text: str, signature: str) -> None:
    if not signature:
        raise WebhookRefused("The signature is missing.", BadInput.WEBHOOK_UNSIGNED)
    verify, secret = stripe.WebhookSignature.verify_header, settings.STRIPE_WEBHOOK_SECRET
    try:
        verify(text, signature, secret)
    except stripe.SignatureVerificationError as exc:
        raise WebhookRefused("The signature is wrong.", BadInput.WEBHOOK_WRONGLY_SIGNED) from exc
    try:
        verify(text, signature, secret, WEBHOOK_TOLERANCE_SECONDS)
    except stripe.SignatureVerificationError as exc:
        raise WebhookRefused("The signature is too old.", BadInput.WEBHOOK_TOO_OLD) from exc


@functools.cache
def provider() -> StripeGateway:
    """Return the gateway of the settings: one for the process, safe for all its threads."""
    return StripeGateway(key=settings.STRIPE_KEY, api_base=settings.STRIPE_API_BASE)


def takes_test_cards() -> bool:
    """Tell whether no real money can move: the sandbox, or a test key of Stripe's."""
    return not settings.STRIPE_KEY.startswith(LIVE_KEY)


def takes_cards() -> bool:
    """Tell whether the pay page can take a card: by Stripe's own form, or a test card."""
    return bool(settings.STRIPE_PUBLISHABLE_KEY) or takes_test_cards()


def is_sandbox() -> bool:
    return bool(settings.STRIPE_API_BASE != STRIPE)
