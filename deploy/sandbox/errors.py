"""Refusals in the shape of Stripe's errors (docs.stripe.com/api/errors)."""

from __future__ import annotations

from typing import Any

from deploy.sandbox.objects import Body


class ApiError(Exception):
    """A request that is refused.

    Args:
        status: the HTTP status.
        message: in Stripe's words.
        kind: the error's `type`.
        stored: whether the refusal is kept under the idempotency key. Stripe keeps what an
            operation answered once it had begun, and not what failed validation before that.
        fields: code, param, payment_intent and so on.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        stored: bool = False,
        **fields: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(message)
        self.status = status
        self.stored = stored
        self.error: Body = {"message": message, "type": kind, **fields}
        if "code" in fields:
            self.error["doc_url"] = f"https://stripe.com/docs/error-codes/{fields['code']}"

    def body(self, request_id: str) -> Body:
        """Return the answer's JSON."""
        url = f"https://dashboard.stripe.com/test/logs/{request_id}"
        return {"error": {**self.error, "request_log_url": url}}


def no_such(kind: str, object_id: str, param: str, status: int = 404) -> ApiError:
    return ApiError(
        status, f"No such {kind}: '{object_id}'", code="resource_missing", param=param, stored=True
    )


def missing(param: str) -> ApiError:
    return ApiError(400, f"Missing required param: {param}.", code="parameter_missing", param=param)


def invalid_integer(param: str, value: object) -> ApiError:
    return ApiError(400, f"Invalid integer: {value}", code="parameter_invalid_integer", param=param)


def unexpected_state(intent: Body, message: str) -> ApiError:
    return ApiError(
        400,
        message,
        code="payment_intent_unexpected_state",
        payment_intent=intent,
        stored=True,
    )
