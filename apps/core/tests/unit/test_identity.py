from __future__ import annotations

from datetime import UTC, datetime, timedelta

import jwt
import pytest
from django.conf import settings
from django.test import RequestFactory

from apps.core.identity import (
    Principal,
    identify,
    is_due_for_renewal,
    is_foreign,
    issue_token,
    read_token,
)


@pytest.fixture
def now():
    return datetime.now(UTC).replace(microsecond=0)


def claims_of(token):
    return jwt.decode(token, options={"verify_signature": False})


def test_a_token_says_who_its_bearer_is(now):
    token = issue_token("42", "ada@example.com", is_staff=True, now=now)

    assert read_token(token) == Principal(
        id="42", email="ada@example.com", is_staff=True, issued_at=int(now.timestamp())
    )


def test_a_token_is_good_for_its_lifetime_and_no_longer(now):
    long_ago = now - timedelta(seconds=settings.JWT_LIFETIME_SECONDS + 1)

    assert read_token(issue_token("42", "ada@example.com", is_staff=False, now=long_ago)) is None
    assert claims_of(issue_token("42", "ada@example.com", is_staff=False, now=now))["exp"] == int(
        now.timestamp() + settings.JWT_LIFETIME_SECONDS
    )


def test_a_token_is_good_where_the_clock_is_behind_that_of_auth(now):
    token = issue_token("42", "ada@example.com", is_staff=False, now=now + timedelta(hours=1))

    assert read_token(token).id == "42"


def test_a_token_of_the_key_before_is_still_good(settings, now):
    token = issue_token("42", "ada@example.com", is_staff=False, now=now)
    settings.JWT_KEY_PREVIOUS = settings.JWT_KEY
    settings.JWT_KEY = "a-new-key-that-is-long-enough-to-be-one"

    assert read_token(token).id == "42"


def test_a_token_of_the_key_before_that_is_not(settings, now):
    token = issue_token("42", "ada@example.com", is_staff=False, now=now)
    settings.JWT_KEY_PREVIOUS = "an-older-key-that-is-long-enough-to-be-one"
    settings.JWT_KEY = "a-new-key-that-is-long-enough-to-be-one"

    assert read_token(token) is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda claims: jwt.encode(claims, "somebody-elses-key-of-sufficient-length", "HS256"),
        lambda claims: jwt.encode(claims, None, "none"),
        lambda claims: jwt.encode(claims, settings.JWT_KEY, "HS384"),
        lambda claims: jwt.encode(claims | {"email": None}, settings.JWT_KEY, "HS256"),
        lambda claims: jwt.encode(claims | {"sub": 42}, settings.JWT_KEY, "HS256"),
        lambda claims: jwt.encode(
            {name: claims[name] for name in ("sub", "email", "iat")}, settings.JWT_KEY, "HS256"
        ),
        lambda claims: jwt.encode(claims, settings.JWT_KEY, "HS256")[:-3],
        lambda _claims: "x" * 5000,
        lambda _claims: "not.a.token",
        lambda _claims: "ü",
        lambda _claims: "",
    ],
)
def test_a_forged_or_maimed_token_stands_for_nobody(spoil, now):
    claims = claims_of(issue_token("42", "ada@example.com", is_staff=False, now=now))

    assert read_token(spoil(claims)) is None


@pytest.mark.parametrize("claim", ["true", 1, None, {"yes": True}])
def test_staff_is_only_who_the_token_says_so_of_in_one_word(claim, now):
    claims = claims_of(issue_token("42", "ada@example.com", is_staff=False, now=now)) | {
        "staff": claim
    }

    assert not read_token(jwt.encode(claims, settings.JWT_KEY, "HS256")).is_staff


def test_a_token_is_due_for_renewal_past_half_of_its_life(now):
    half = timedelta(seconds=settings.JWT_LIFETIME_SECONDS / 2)
    bearer = Principal(id="42", email="ada@example.com", issued_at=int(now.timestamp()))

    assert not is_due_for_renewal(bearer, now + half)
    assert is_due_for_renewal(bearer, now + half + timedelta(seconds=1))


def test_the_authorization_header_goes_before_the_cookie(now):
    bearer = issue_token("1", "bearer@example.com", is_staff=False, now=now)
    cookie = issue_token("2", "cookie@example.com", is_staff=False, now=now)
    headers = {"Authorization": f"Bearer {bearer}", "Cookie": f"session={cookie}"}

    assert identify(RequestFactory().get("/", headers=headers)).id == "1"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, False),
        ({"Origin": "http://testserver"}, False),
        ({"Origin": settings.PUBLIC_URL}, False),
        ({"Origin": "http://evil.example"}, True),
        ({"Origin": "http://testserver.evil.example"}, True),
        ({"Origin": "null"}, True),
        ({"Origin": "http://[broken"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": "same-origin"}, False),
    ],
)
def test_a_request_is_foreign_when_its_origin_is_not_ours(headers, expected):
    assert is_foreign(RequestFactory().post("/", headers=headers)) is expected
