"""Limits on how often something may be tried; the rates are settings."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle


class AddressThrottle(SimpleRateThrottle):
    """Counts by network address, signed in or not: for trying passwords and making accounts.

    NUM_PROXIES says how many proxies of ours stand in front, and so which address to believe.
    """

    def get_cache_key(self, request: Request, view: Any) -> str:  # noqa: ANN401, ARG002
        return f"throttle:{self.scope}:{self.get_ident(request)}"


class SignInThrottle(AddressThrottle):
    scope = "signin"


class SignUpThrottle(AddressThrottle):
    scope = "signup"


def is_allowed(throttle: type[AddressThrottle], request: HttpRequest) -> bool:
    """Count a page's form against the same limit as the API, and tell whether it may pass."""
    return bool(throttle().allow_request(Request(request), None))  # type: ignore[arg-type]
