"""How the outside sees what happened: JSON in the API's names, errors in its one shape."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import DatabaseError, InterfaceError, OperationalError
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from pymongo.errors import PyMongoError
from rest_framework import exceptions, status
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.response import Response

from apps.core.errors import (
    Conflict,
    DomainError,
    Invalid,
    NotAllowed,
    NotFound,
    NotSignedIn,
    TooOften,
)
from apps.outbox import failures

STATUS_OF_KIND: dict[type[DomainError], int] = {
    Invalid: status.HTTP_400_BAD_REQUEST,
    NotSignedIn: status.HTTP_401_UNAUTHORIZED,
    NotAllowed: status.HTTP_403_FORBIDDEN,
    NotFound: status.HTTP_404_NOT_FOUND,
    Conflict: status.HTTP_400_BAD_REQUEST,
    TooOften: status.HTTP_429_TOO_MANY_REQUESTS,
}
TOO_LARGE = "The request is too large."
UNAVAILABLE = "The service cannot reach its database just now. Please try again in a moment."
RETRY_AFTER_SECONDS = "5"
MOST_LEVELS = 32
CHALLENGE = 'Bearer realm="ticketing"'
TITLES = {
    400: "That request makes no sense to us",
    403: "Not allowed",
    404: "There is nothing here",
    413: "That is too large",
    500: "Something broke",
    503: "Back in a moment",
}
"""What the error pages say above the message."""
UNDERSCORE = re.compile(r"(?<=[a-z0-9])_([a-z0-9])")
CAPITAL = re.compile(r"(?<=[a-z0-9])([A-Z])")


def camelize(name: str) -> str:
    """Return order_id as orderId."""
    return UNDERSCORE.sub(lambda match: match[1].upper(), name)


def underscore(name: str) -> str:
    """Return orderId as order_id."""
    return CAPITAL.sub(lambda match: f"_{match[1].lower()}", name)


def camelize_keys(data: Any) -> Any:  # noqa: ANN401
    """Return the same data with every key in camelCase."""
    if isinstance(data, Mapping):
        return {camelize(str(key)): camelize_keys(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [camelize_keys(value) for value in data]
    return data


def underscore_keys(data: Any, levels: int = MOST_LEVELS) -> Any:  # noqa: ANN401
    """Return the same data with every key in snake_case.

    Raises:
        ParseError: it is nested deeper than `levels`. orjson reads 1,024 levels, which is more
            than Python's stack holds.
    """
    if isinstance(data, dict | list) and not levels:
        raise exceptions.ParseError("The request is nested too deeply.", code="malformed_json")
    if isinstance(data, dict):
        return {underscore(key): underscore_keys(value, levels - 1) for key, value in data.items()}
    if isinstance(data, list):
        return [underscore_keys(value, levels - 1) for value in data]
    return data


class CamelCaseJSONRenderer(BaseRenderer):
    media_type = "application/json"
    format = "json"
    charset = None  # JSON is UTF-8

    def render(
        self,
        data: Any,  # noqa: ANN401
        accepted_media_type: str | None = None,  # noqa: ARG002
        renderer_context: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> bytes:
        return b"" if data is None else orjson.dumps(camelize_keys(data), default=str)


class PayloadTooLarge(exceptions.APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = TOO_LARGE
    default_code = "too_large"


class CamelCaseJSONParser(BaseParser):
    """Reads at most DATA_UPLOAD_MAX_MEMORY_SIZE, which Django enforces for forms alone."""

    media_type = "application/json"

    def parse(
        self,
        stream: Any,  # noqa: ANN401
        media_type: str | None = None,  # noqa: ARG002
        parser_context: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> Any:  # noqa: ANN401
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise PayloadTooLarge
        try:
            # orjson refuses what json.loads lets pass: NaN, lone surrogates, endless nesting.
            return underscore_keys(orjson.loads(body))
        except orjson.JSONDecodeError as exc:
            raise exceptions.ParseError(
                f"The request is not valid JSON: {exc}.", code="malformed_json"
            ) from exc


def error_body(message: str, code: str, field: str = "") -> dict[str, Any]:
    """Return the API's answer to one error."""
    error = {"message": message, "code": code}
    return {"errors": [error | {"field": field} if field else error]}


class ErrorResponse(Response):
    """An error in the API's shape."""

    def __init__(self, message: str, code: str, http_status: int, field: str = "") -> None:
        super().__init__(error_body(message, code, field), status=http_status)


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:  # noqa: ARG001
    """Turn an anticipated exception of an API view into its answer; None lets others through."""
    response: Response | None = None
    if isinstance(exc, DomainError):
        response = ErrorResponse(exc.message, exc.error_code, status_of(exc), exc.field)
    elif isinstance(exc, exceptions.APIException):
        response = _api_error(exc)
    elif isinstance(exc, Http404):
        response = ErrorResponse("Not Found", "not_found", 404)
    elif isinstance(exc, PermissionDenied):
        response = ErrorResponse("Not allowed", "not_allowed", 403)
    elif isinstance(exc, RequestDataTooBig):
        response = ErrorResponse(TOO_LARGE, "too_large", 413)
    elif is_outage(exc):
        response = ErrorResponse(UNAVAILABLE, "unavailable", 503)
        response["Retry-After"] = RETRY_AFTER_SECONDS
    if response is not None and response.status_code == status.HTTP_401_UNAUTHORIZED:
        response["WWW-Authenticate"] = CHALLENGE
    return response


def status_of(error: DomainError) -> int:
    """Return the HTTP status of a refusal, by its kind."""
    return next(code for kind, code in STATUS_OF_KIND.items() if isinstance(error, kind))


def _api_error(exc: exceptions.APIException) -> Response:
    response = Response(status=exc.status_code)
    if isinstance(exc, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        response.status_code = status.HTTP_401_UNAUTHORIZED
        response.data = error_body("Not authorized", "not_authorized")
    elif isinstance(exc, exceptions.NotFound):
        response.data = error_body("Not Found", "not_found")
    elif isinstance(exc, exceptions.Throttled):
        seconds = math.ceil(getattr(exc, "wait", None) or 1)
        message = f"Too many requests. Try again in {seconds} seconds."
        response.data = error_body(message, "throttled")
        response["Retry-After"] = str(seconds)
    else:
        response.data = {"errors": list(_flatten(exc.detail))}
    return response


def _flatten(detail: Any, path: str = "") -> Iterator[dict[str, str]]:  # noqa: ANN401
    if isinstance(detail, dict):
        for name, inner in detail.items():
            known = "" if name == "non_field_errors" else camelize(str(name))
            yield from _flatten(inner, ".".join(filter(None, (path, known))))
    elif isinstance(detail, list):
        for inner in detail:
            yield from _flatten(inner, path)
    else:
        error = {"message": str(detail), "code": str(getattr(detail, "code", "invalid"))}
        yield error | {"field": path} if path else error


def is_outage(exc: BaseException | None) -> bool:
    """Tell whether the database could not do it just now, as against refusing what was asked.

    MongoDB keeps what a killed process was writing locked until the transaction has timed out: who
    wants the same document meanwhile is to come again.
    """
    if isinstance(exc, OperationalError | InterfaceError):
        return True
    if isinstance(exc, PyMongoError):
        return failures.is_outage(exc)
    return isinstance(exc, DatabaseError) and is_outage(exc.__cause__)


def wants_json(request: HttpRequest) -> bool:
    """Tell whether the request came to the API, whose errors are JSON."""
    return f"{request.path}/".startswith("/api/")


def unavailable(request: HttpRequest, exc: Exception) -> HttpResponse | None:
    """Return the answer to an outage of the database; None when it is something else."""
    if not is_outage(exc):
        return None
    response = _error_page(request, 503, "unavailable", UNAVAILABLE)
    response["Retry-After"] = RETRY_AFTER_SECONDS
    return response


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer what Django itself refused: a huge form, a forged host name."""
    if isinstance(exception, RequestDataTooBig):
        return _error_page(request, 413, "too_large", TOO_LARGE)
    return _error_page(request, 400, "bad_request", "The request could not be understood.")


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:  # noqa: ARG001
    return _error_page(request, 403, "not_allowed", "You may not open this page.")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001
    message = (
        "This form was open for too long, or was sent from another site. "
        "Nothing was changed. Go back, reload the page and try again."
    )
    return _error_page(request, 403, "csrf_failed", message)


def page_not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:  # noqa: ARG001
    message = "The address may be mistyped, or what was here has been taken away."
    return _error_page(request, 404, "not_found", "Not Found" if wants_json(request) else message)


def server_error(request: HttpRequest) -> HttpResponse:
    message = "Something went wrong on our side. Try again in a moment."
    return _error_page(request, 500, "server_error", message)


def _error_page(request: HttpRequest, http_status: int, code: str, message: str) -> HttpResponse:
    if wants_json(request):
        return JsonResponse(error_body(message, code), status=http_status)
    facts = {"status": http_status, "title": TITLES[http_status], "message": message}
    return render(request, "core/error.html", facts, status=http_status)


def add_error(form: Form, error: DomainError) -> None:
    """Show a refusal in a page's form: beside the field at fault, or above the form."""
    field = underscore(error.field)
    form.add_error(field if field in form.fields else None, error.message)
