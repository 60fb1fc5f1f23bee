"""A request's way: key, route, parameters, faults, idempotency, operation, answer."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deploy.sandbox import objects
from deploy.sandbox.cards import DECLINES, find_card
from deploy.sandbox.errors import ApiError
from deploy.sandbox.faults import REQUEST_FAULTS, Fault, Faults
from deploy.sandbox.forms import Params, decode
from deploy.sandbox.objects import Body
from deploy.sandbox.provider import Call, Provider
from deploy.sandbox.store import Store

LONGEST_KEY = 255


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What goes back; `lost` means that the connection is closed without a word, after a while."""

    status: int
    body: str
    headers: dict[str, str] = field(default_factory=dict)
    lost: bool = False
    hang_seconds: float = 0.0


@dataclass(frozen=True)
class Route:
    """An endpoint: its operation's name, the method of Provider, and the parameters it knows."""

    method: str
    path: re.Pattern[str]
    name: str
    known: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Work:
    """A request that was understood: what to do, with what, and what goes wrong with it."""

    request: Request
    route: Route
    ids: tuple[str, ...]
    call: Call
    fault: Fault | None

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(_text(self.call.params).encode()).hexdigest()


def _route(method: str, path: str, name: str, known: str = "") -> Route:
    pattern = re.compile("^" + path.replace("{id}", r"([A-Za-z0-9_]{1,255})") + "$")
    return Route(method, pattern, name, frozenset(known.split()) | {"expand"})


CONFIRMING = (
    "payment_method payment_method_data confirmation_token return_url error_on_requires_action "
    "off_session use_stripe_sdk"
)
PAGING = "limit starting_after ending_before created"
ROUTES = (
    _route(
        "POST",
        "/v1/payment_methods",
        "create_method",
        "type card billing_details metadata allow_redisplay",
    ),
    _route("GET", "/v1/payment_methods/{id}", "retrieve_method"),
    _route(
        "POST",
        "/v1/test_helpers/confirmation_tokens",
        "create_confirmation_token",
        "payment_method payment_method_data return_url",
    ),
    _route("GET", "/v1/confirmation_tokens/{id}", "retrieve_confirmation_token"),
    _route(
        "POST",
        "/v1/payment_intents",
        "create_intent",
        "amount currency metadata description automatic_payment_methods payment_method_types "
        "allowed_payment_method_types "
        "capture_method confirm confirmation_method receipt_email statement_descriptor "
        f"statement_descriptor_suffix transfer_group {CONFIRMING}",
    ),
    _route("POST", "/v1/payment_intents/{id}/confirm", "confirm_intent", CONFIRMING),
    _route("POST", "/v1/payment_intents/{id}/cancel", "cancel_intent", "cancellation_reason"),
    _route("GET", "/v1/payment_intents/{id}", "retrieve_intent", "client_secret"),
    _route("GET", "/v1/payment_intents", "list:payment_intent", PAGING),
    _route("POST", "/v1/refunds", "create_refund", "payment_intent charge amount reason metadata"),
    _route("GET", "/v1/refunds/{id}", "retrieve_refund"),
    _route("GET", "/v1/refunds", "list:refund", f"{PAGING} payment_intent"),
    _route("GET", "/v1/charges/{id}", "retrieve_charge"),
    _route("GET", "/v1/charges", "list:charge", f"{PAGING} payment_intent"),
    _route("GET", "/v1/disputes/{id}", "retrieve_dispute"),
    _route("POST", "/v1/disputes/{id}", "update_dispute", "evidence submit metadata"),
    _route("POST", "/v1/disputes/{id}/close", "close_dispute"),
    _route("GET", "/v1/disputes", "list:dispute", f"{PAGING} payment_intent"),
    _route("GET", "/v1/events/{id}", "retrieve_event"),
    _route("GET", "/v1/events", "list:event", PAGING),
)


class Api:
    """Stripe's HTTP API over a Provider.

    Args:
        store: where answers under idempotency keys are kept.
        provider: the operations.
        faults: those of requests are taken here.
        key: the one secret key that is accepted, sk_test_….
        wake_webhooks: called after a request that may have made events.
    """

    def __init__(
        self,
        store: Store,
        provider: Provider,
        faults: Faults,
        *,
        key: str,
        wake_webhooks: Callable[[], None],
    ) -> None:
        self._store = store
        self._provider = provider
        self._faults = faults
        self._key = key
        self._wake_webhooks = wake_webhooks
        self._in_flight: set[str] = set()
        self._in_flight_lock = threading.Lock()

    def answer(self, request: Request) -> Answer:
        """Carry out one request under /v1/."""
        request_id = objects.new_id("req", 14)
        try:
            self.check_key(request.headers)
            return self._dispatch(request, request_id)
        except ApiError as exc:
            return _final(exc.status, _text(exc.body(request_id)), request_id, request)

    def check_key(self, headers: Mapping[str, str]) -> None:
        """Refuse whoever does not bring the secret key, as Bearer or as Basic user name.

        Raises:
            ApiError: 401.
        """
        given = _given_key(headers.get("Authorization", ""))
        if not given:
            raise ApiError(
                401,
                "You did not provide an API key. You need to provide your API key in the "
                "Authorization header, using Bearer auth (e.g. 'Authorization: Bearer "
                "YOUR_SECRET_KEY'). See https://stripe.com/docs/api#authentication for details, "
                "or we can help at https://support.stripe.com/.",
            )
        if not hmac.compare_digest(given.encode(), self._key.encode()):
            shown = f"{given[:8]}{'*' * 8}{given[-4:]}" if len(given) > 16 else "*" * 8  # noqa: PLR2004
            raise ApiError(401, f"Invalid API Key provided: {shown}")

    def _dispatch(self, request: Request, request_id: str) -> Answer:
        route, ids = _find_route(request)
        params = decode(
            request.body.decode("utf-8", "replace") if request.method == "POST" else request.query
        )
        if unknown := sorted(set(params) - route.known):
            raise ApiError(
                400,
                f"Received unknown parameter: {unknown[0]}",
                code="parameter_unknown",
                param=unknown[0],
            )
        key = request.headers.get("Idempotency-Key", "") if request.method == "POST" else ""
        if len(key) > LONGEST_KEY:
            raise ApiError(400, f"Idempotency keys may have at most {LONGEST_KEY} characters.")
        fault = self._fault(route.name, params)
        if fault is not None and fault.kind == "timeout_before":
            return Answer(504, "", lost=True, hang_seconds=fault.seconds)
        call = Call(params, request_id, key or None)
        answer = self._once(Work(request, route, ids, call, fault))
        if fault is not None and fault.kind == "timeout_after":
            return Answer(504, "", lost=True, hang_seconds=fault.seconds)
        return answer

    def _fault(self, name: str, params: Params) -> Fault | None:
        """Return what goes wrong with this request: as ordered, or by the nature of its card."""
        fault = self._faults.take(name, REQUEST_FAULTS)
        if fault is None and name == "confirm_intent" and (given := params.get("payment_method")):
            method = self._store.find("payment_method", str(given))
            card = find_card(str(given), "pm_card_")
            if method is not None:
                card = objects.card_behind(method)
            if card is not None and card.fault:
                return Fault(card.fault)
        return fault

    def _once(self, work: Work) -> Answer:
        """Run the operation, or replay what it answered under this key before."""
        key = work.call.key
        if key is None:
            return self._run(work)
        with self._in_flight_lock:
            if key in self._in_flight:
                raise ApiError(
                    409,
                    "There is currently another in-progress request using this Stripe Idempotent "
                    "Key (that probably means you submitted twice, and the other request is "
                    f"still going through): {key}. If you intended to execute a distinct "
                    "operation, use a different idempotency key.",
                    kind="idempotency_error",
                    code="idempotency_key_in_use",
                )
            with self._store.transaction():
                stored = self._store.find_answer(key)
            if stored is not None:
                return _replay(stored, work.fingerprint, key, work.request)
            self._in_flight.add(key)
        try:
            return self._run(work)
        finally:
            with self._in_flight_lock:
                self._in_flight.discard(key)

    def _run(self, work: Work) -> Answer:
        call, fault = work.call, work.fault
        kind = fault.kind if fault is not None else ""
        if fault is not None and kind == "delay":
            time.sleep(fault.seconds)
        if fault is not None and kind == "decline":
            call.decline = DECLINES[fault.code]
        refusal: ApiError | None = None
        body: Body = {}
        with self._store.transaction():
            try:
                if kind != "error_before":
                    with self._store.savepoint():
                        body = self._operate(work)
                refusal = call.failure
            except ApiError as exc:
                refusal = exc
            if kind in {"error_before", "error_after"}:
                refusal = ApiError(500, "An unknown error occurred", kind="api_error", stored=True)
            status = 200 if refusal is None else refusal.status
            text = _text(body if refusal is None else refusal.body(call.request_id))
            if call.key and (refusal is None or refusal.stored):
                row = (work.request.path, work.fingerprint, call.request_id, status, text)
                self._store.save_answer(call.key, row)
        self._wake_webhooks()
        return _final(status, text, call.request_id, work.request)

    def _operate(self, work: Work) -> Body:
        name, call = work.route.name, work.call
        if name.startswith("list:"):
            kind = name.removeprefix("list:")
            return self._provider.page(kind, work.request.path, call.params)
        operation: Callable[..., Body] = getattr(self._provider, name)
        body = operation(call, *work.ids)
        wanted = call.params.get("expand", [])
        for field_name in wanted if isinstance(wanted, list) else []:
            child = body.get(str(field_name))
            if isinstance(child, str) and (found := self._expanded(str(field_name), child)):
                body = {**body, str(field_name): found}
        return body

    def _expanded(self, name: str, object_id: str) -> Body | None:
        kind = {"latest_charge": "charge"}.get(name, name)
        return self._store.find(kind, object_id)


def _find_route(request: Request) -> tuple[Route, tuple[str, ...]]:
    for route in ROUTES:
        match = route.path.match(request.path)
        if match is not None and route.method == request.method:
            return route, match.groups()
    raise ApiError(
        404,
        f"Unrecognized request URL ({request.method}: {request.path}). "
        "Please see https://stripe.com/docs or we can help at https://support.stripe.com/.",
    )


def _replay(
    stored: tuple[str, str, str, int, str], fingerprint: str, key: str, request: Request
) -> Answer:
    endpoint, known, original, status, text = stored
    if endpoint != request.path:
        raise ApiError(
            400,
            "Keys for idempotent requests can only be used for the same endpoint they were first "
            f"used for ('{request.path}' vs '{endpoint}'). Try using a key other than '{key}' if "
            "you meant to execute a different request.",
            kind="idempotency_error",
        )
    if known != fingerprint:
        raise ApiError(
            400,
            "Keys for idempotent requests can only be used with the same parameters they were "
            f"first used with. Try using a key other than '{key}' if you meant to execute a "
            "different request.",
            kind="idempotency_error",
        )
    answer = _final(status, text, objects.new_id("req", 14), request)
    return Answer(
        status,
        text,
        {**answer.headers, "Idempotent-Replayed": "true", "Original-Request": original},
    )


def _final(status: int, text: str, request_id: str, request: Request) -> Answer:
    headers = {
        "Content-Type": "application/json",
        "Request-Id": request_id,
        "Stripe-Version": request.headers.get("Stripe-Version", objects.API_VERSION),
    }
    if key := request.headers.get("Idempotency-Key", ""):
        headers["Idempotency-Key"] = key.encode("ascii", "replace").decode()
    return Answer(status, text, headers)


def _given_key(header: str) -> str:
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode("utf-8", "replace").split(":")[0]
        except (binascii.Error, ValueError):
            return ""
    return ""


def _text(body: Any) -> str:  # noqa: ANN401 - whatever JSON can say
    return json.dumps(body, sort_keys=True)
