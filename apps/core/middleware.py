"""What happens around every request."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import structlog
import uuid6
from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponseBase, UnreadablePostError
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from django.utils.module_loading import import_string
from opentelemetry.trace import Span, StatusCode

from apps.core import metrics
from apps.core.http import is_outage, unavailable
from apps.core.identity import (
    COOKIE,
    Principal,
    bearer_token,
    clear_session_cookie,
    find_staff_user,
    identify,
    is_due_for_renewal,
    read_token,
    set_session_cookie,
)
from apps.outbox import tracing
from apps.outbox.context import Trace, traced

GetResponse = Callable[[HttpRequest], HttpResponseBase]

REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{8,128}")
METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
PIECE = 64 * 1024
LONGEST_BODY = 10 * 1024 * 1024
QUIET = ("/healthz", "/metrics", "/readyz", "/static/")

log = structlog.get_logger(__name__)


def read_on(request: HttpRequest) -> None:
    """Read and forget what nobody has read of a large body.

    An answer breaks the connection while its client is still sending, and the gateway, which then
    has not seen the answer, says that the service is down.
    """
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not length.isdecimal() or int(length) <= settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
        return
    try:
        for _ in range(LONGEST_BODY // PIECE):
            if not request.read(PIECE):
                break
    except UnreadablePostError:
        pass  # The client has gone, and needs no answer.


class ContentSecurityPolicyMiddleware:
    """Says to browsers that pages run the scripts of this origin's files, and no others.

    Styles may stand in the page: the admin shows mails as they were sent, and mail programs know no
    style sheets. A form may lead to the bank of the card, whichever that is.
    """

    POLICY = (
        "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
        "object-src 'none'; base-uri 'none'; form-action 'self' https:; frame-ancestors 'none'"
    )

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", self.POLICY)
        return response


class RequestContextMiddleware:
    """Gives the request an id, which its events carry as correlation id, and logs it once."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        given = request.headers.get("X-Request-ID", "")
        request_id = given if REQUEST_ID.fullmatch(given) else str(uuid6.uuid7())
        began = time.perf_counter()
        if request.path.startswith(QUIET):
            with traced(Trace(correlation_id=request_id)):
                response = self._answer(request)
        else:
            caller = Trace(
                correlation_id=request_id,
                traceparent=request.headers.get("traceparent", ""),
                tracestate=request.headers.get("tracestate", ""),
            )
            with tracing.serving(str(request.method), caller, _attributes(request)) as span:
                response = self._answer(request)
                _note(request, response, span, time.perf_counter() - began)
        response["X-Request-ID"] = request_id
        return response

    def _answer(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        read_on(request)
        return response

    def process_exception(
        self, request: HttpRequest, exception: Exception
    ) -> HttpResponseBase | None:
        """Say plainly that the database is away, instead of a server error."""
        return unavailable(request, exception)


def _attributes(request: HttpRequest) -> dict[str, str]:
    return {"http.request.method": str(request.method), "url.path": request.path}


def _note(request: HttpRequest, response: HttpResponseBase, span: Span, seconds: float) -> None:
    """Log the request, count it, and give its span the name of its route."""
    status = response.status_code
    route = f"/{request.resolver_match.route}" if request.resolver_match else "unknown"
    method = request.method if request.method in METHODS else "other"
    metrics.requests.labels(method, route, status).observe(seconds)
    span.update_name(f"{method} {route}")
    span.set_attributes({"http.route": route, "http.response.status_code": status})
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        span.set_status(StatusCode.ERROR)
    log.info(
        "request",
        method=request.method,
        path=request.path,
        status=status,
        ms=round(seconds * 1000, 1),
    )


class PrincipalMiddleware:
    """Sets `request.principal`; `request.user` becomes the local user of a member of staff.

    Signing in and out is therefore one act for all services: no admin keeps a session of its own
    that would outlive it.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        principal = identify(request)
        token = _renewed_token(request, principal) if principal is not None else None
        if token is not None:
            principal = read_token(token)
        request.principal = principal  # type: ignore[attr-defined]
        if principal is not None and principal.is_staff:
            stranger: Any = request.user
            request.user = SimpleLazyObject(  # type: ignore[assignment]
                lambda: find_staff_user(principal) or stranger
            )
        response = self.get_response(request)
        if token is not None and COOKIE not in response.cookies:
            if token:
                set_session_cookie(response, token)
            else:
                clear_session_cookie(response)
        return response


def _renewed_token(request: HttpRequest, principal: Principal) -> str | None:
    """Return the cookie's next token, empty for a closed account, None while the old one is good.

    Only the service that has the users can renew tokens: settings.TOKEN_RENEWAL is empty elsewhere.
    """
    now = timezone.now()
    if (
        not settings.TOKEN_RENEWAL
        or bearer_token(request)
        or not is_due_for_renewal(principal, now)
    ):
        return None
    renew: Callable[..., str] = import_string(settings.TOKEN_RENEWAL)
    try:
        return renew(principal, now=now)
    except DatabaseError as exc:
        if not is_outage(exc):
            raise
        return None  # The old token is good for long enough to try again.
