"""A request's parameters, read as Stripe reads them."""

from __future__ import annotations

from typing import Any

from deploy.sandbox.errors import ApiError, invalid_integer, missing
from deploy.sandbox.forms import Params
from deploy.sandbox.objects import Body

SMALLEST = 50
LARGEST = 99_999_999


def integer(params: Params, name: str) -> int:
    value = params.get(name)
    if value is None:
        raise missing(name)
    try:
        return int(str(value))
    except ValueError as exc:
        raise invalid_integer(name, value) from exc


def amount_of(params: Params) -> int:
    amount = integer(params, "amount")
    if amount < 1:
        raise ApiError(
            400,
            "This value must be greater than or equal to 1.",
            code="parameter_invalid_integer",
            param="amount",
        )
    if amount < SMALLEST:
        raise ApiError(
            400,
            "Amount must be at least $0.50 usd",
            code="amount_too_small",
            param="amount",
        )
    if amount > LARGEST:
        raise ApiError(
            400,
            "Amount must be no more than $999,999.99",
            code="amount_too_large",
            param="amount",
        )
    return amount


def currency_of(params: Params) -> str:
    currency = params.get("currency")
    if currency is None:
        raise missing("currency")
    text = str(currency).lower()
    if len(text) != 3 or not (text.isascii() and text.isalpha()):  # noqa: PLR2004 - ISO 4217
        raise ApiError(400, f"Invalid currency: {currency}.", param="currency")
    return text


def automatic_methods(params: Params) -> Body | None:
    """Return the intent's setting; without one, Stripe lets the dashboard choose the methods."""
    given = params.get("automatic_payment_methods")
    if "allowed_payment_method_types" in params:
        return None
    if isinstance(given, dict) and str(given.get("enabled")).lower() != "true":
        return None
    redirects = given.get("allow_redirects", "always") if isinstance(given, dict) else "always"
    return {"allow_redirects": redirects, "enabled": True}


def check_allowed_types(params: Params) -> None:
    types = params.get("allowed_payment_method_types", ["card"])
    if not isinstance(types, list):
        raise ApiError(400, "Invalid array", param="allowed_payment_method_types")
    if "allowed_payment_method_types" in params and "automatic_payment_methods" in params:
        raise ApiError(
            400,
            "You may only specify one of these parameters: allowed_payment_method_types, "
            "automatic_payment_methods.",
        )
    if "card" not in types:
        raise ApiError(
            400,
            "No valid payment method types for this Payment Intent: the sandbox knows cards only.",
            param="allowed_payment_method_types",
        )


def metadata_of(params: Params) -> dict[str, Any]:
    metadata = params.get("metadata", {})
    if metadata == "":
        return {}
    if not isinstance(metadata, dict):
        raise ApiError(400, "Invalid hash: metadata", param="metadata")
    return metadata


def flag(params: Params, name: str) -> bool:
    return str(params.get(name, "false")).lower() == "true"
