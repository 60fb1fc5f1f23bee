"""Who is asking: a signed token that each service verifies alone (docs/adr/0002)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar
from urllib.parse import urlencode

import jwt
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from jwt.types import Options
from rest_framework import exceptions, permissions
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from apps.core.http import CHALLENGE

COOKIE = "session"
ALGORITHM = "HS256"
# When a token was issued says nothing against it: where the clock is a little behind that of auth,
# a check would turn away everybody who has just signed in. `exp` is what ends a token.
TOKEN_OPTIONS: Options = {"require": ["sub", "iat", "exp"], "verify_iat": False}
SIGN_IN_PAGE = "/auth/signin/"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LONGEST_TOKEN = 4096

P = ParamSpec("P")
R = TypeVar("R", bound=HttpResponseBase)


@dataclass(frozen=True, kw_only=True)
class Principal:
    """The person behind a request, as the token says."""

    id: str
    email: str
    is_staff: bool = False
    issued_at: int = 0

    is_authenticated: ClassVar[bool] = True
    is_anonymous: ClassVar[bool] = False

    @property
    def pk(self) -> str:
        """What DRF's throttles count by."""
        return self.id


def issue_token(user_id: str, email: str, is_staff: bool, now: datetime) -> str:  # noqa: FBT001
    """Return a token that says who the person is, for JWT_LIFETIME_SECONDS from `now`."""
    claims = {
        "sub": user_id,
        "email": email,
        "staff": is_staff,
        "iat": int(now.timestamp()),
        "exp": int((now + timedelta(seconds=settings.JWT_LIFETIME_SECONDS)).timestamp()),
    }
    return jwt.encode(claims, settings.JWT_KEY, algorithm=ALGORITHM)


def read_token(token: str) -> Principal | None:
    """Return the token's bearer; None when it is forged, expired or no token at all.

    Tokens signed with JWT_KEY_PREVIOUS are still good, so that the key can be changed without
    signing everybody out.
    """
    if not token or len(token) > LONGEST_TOKEN:
        return None
    for key in filter(None, (settings.JWT_KEY, settings.JWT_KEY_PREVIOUS)):
        try:
            claims = jwt.decode(token, key, algorithms=[ALGORITHM], options=TOKEN_OPTIONS)
        except jwt.PyJWTError:
            continue
        email, issued_at = claims.get("email"), claims["iat"]
        if not isinstance(email, str) or not isinstance(issued_at, int):
            return None
        return Principal(
            id=claims["sub"],
            email=email,
            is_staff=claims.get("staff") is True,
            issued_at=issued_at,
        )
    return None


def is_due_for_renewal(principal: Principal, now: datetime) -> bool:
    """Tell whether the token is past half its life, so that a regular visitor stays signed in."""
    return now.timestamp() - principal.issued_at > settings.JWT_LIFETIME_SECONDS / 2


def set_session_cookie(response: HttpResponseBase, token: str) -> None:
    """Hand the token to the browser, out of reach of scripts."""
    response.set_cookie(
        COOKIE,
        token,
        max_age=settings.JWT_LIFETIME_SECONDS,
        httponly=True,
        samesite="Lax",
        secure=settings.COOKIES_SECURE,
    )


def clear_session_cookie(response: HttpResponseBase) -> None:
    """Sign the browser out of every service at once, the admin pages included."""
    response.delete_cookie(COOKIE, samesite="Lax")


def bearer_token(request: HttpRequest) -> str:
    """Return the token of the Authorization header, empty without one."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def identify(request: HttpRequest) -> Principal | None:
    """Return who sent the request: by its Authorization header, or else by its cookie."""
    return read_token(bearer_token(request) or request.COOKIES.get(COOKIE, ""))


def is_foreign(request: HttpRequest) -> bool:
    """Tell whether another site's page sent the request.

    Browsers name the page's origin on every unsafe request across sites; clients that are no
    browsers name none, and carry no cookie that they were not given on purpose.
    """
    origin = request.headers.get("Origin")
    if origin is None:
        return request.headers.get("Sec-Fetch-Site") == "cross-site"
    return origin not in {
        f"{request.scheme}://{request.get_host()}",
        *settings.CSRF_TRUSTED_ORIGINS,
    }


class JWTAuthentication(BaseAuthentication):
    """DRF's view of the token. `request.user` is a Principal, or None for a stranger."""

    def authenticate(self, request: Request) -> tuple[Principal, None] | None:
        plain = request._request  # noqa: SLF001
        # PrincipalMiddleware has been here before; a view that is tested alone does without it.
        principal = plain.principal if hasattr(plain, "principal") else identify(plain)
        if principal is None:
            return None
        is_by_cookie = not bearer_token(plain)
        if is_by_cookie and plain.method not in SAFE_METHODS and is_foreign(plain):
            raise exceptions.PermissionDenied(
                "This request came from another site.", code="foreign_origin"
            )
        return principal, None

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002
        return CHALLENGE


class SignedIn(permissions.BasePermission):
    """Refuses strangers: 401 "Not authorized"."""

    def has_permission(self, request: Request, view: Any) -> bool:  # noqa: ANN401, ARG002
        if request.user is None:
            raise exceptions.NotAuthenticated
        return True


def sign_in_address(back: str) -> str:
    """Return the sign-in page that goes on to `back` afterwards."""
    return f"{SIGN_IN_PAGE}?{urlencode({'next': back})}"


def principal_required(
    view: Callable[Concatenate[HttpRequest, P], R],
) -> Callable[Concatenate[HttpRequest, P], R | HttpResponseRedirect]:
    """Send strangers to the sign-in page first.

    A form that was sent after the session ended cannot be sent again by itself: they come back to
    the page that it stood on.
    """

    @wraps(view)
    def guarded(
        request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs
    ) -> R | HttpResponseRedirect:
        if getattr(request, "principal", None) is None:
            return HttpResponseRedirect(sign_in_address(_page_of(request)))
        return view(request, *args, **kwargs)

    return guarded


def _page_of(request: HttpRequest) -> str:
    if request.method in SAFE_METHODS:
        return request.get_full_path()
    page = request.headers.get("Referer", "").removeprefix(
        f"{request.scheme}://{request.get_host()}"
    )
    return page if page.startswith("/") else "/"


def find_staff_user(principal: Principal | None) -> AbstractBaseUser | None:
    """Return the local user that stands for this member of staff in the admin, or None.

    Where users live their own row decides, so that a dismissal takes effect at once. Elsewhere the
    token's claim does, and the row is a shadow: it gives the admin's log a name to write down.
    """
    if principal is None or not principal.is_staff:
        return None
    users: Any = get_user_model()._default_manager  # noqa: SLF001
    if settings.AUTH_USER_MODEL != "auth.User":
        user: AbstractBaseUser | None = users.filter(
            email=principal.email, is_staff=True, is_active=True
        ).first()
        return user if user is not None and str(user.pk) == principal.id else None
    shadow: AbstractBaseUser
    shadow, _ = users.get_or_create(
        username=principal.id,
        defaults={"email": principal.email, "is_staff": True, "is_superuser": True},
    )
    return shadow
