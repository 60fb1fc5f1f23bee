"""API v1 of users as clients of the course app know it."""

from __future__ import annotations

from datetime import timedelta

import orjson
import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from apps.auth import services
from apps.auth.models import User
from apps.auth.tests.factories import PASSWORD, make_user, new_email, token_of

pytestmark = pytest.mark.django_db

EMAIL_MESSAGE = "Email must be valid"
PASSWORD_MESSAGE = "Password must be between 8 and 128 characters"


@pytest.fixture
def client():
    return Client(raise_request_exception=False, enforce_csrf_checks=True)


def post(client, route, body, **headers):
    return client.post(
        f"/api/users/{route}",
        body if isinstance(body, str | bytes) else orjson.dumps(body),
        content_type="application/json",
        headers=headers,
    )


def messages_of(response):
    return [error["message"] for error in response.json()["errors"]]


def test_signing_up_signs_in(client):
    email = new_email()

    response = post(client, "signup", {"email": email, "password": PASSWORD})

    assert response.status_code == 201
    user = User.objects.get(email=email)
    assert response.json() == {"id": str(user.pk), "email": email}
    current = client.get("/api/users/currentuser").json()["currentUser"]
    assert current == {"id": str(user.pk), "email": email, "iat": current["iat"]}
    assert isinstance(current["iat"], int)


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(client, settings):
    settings.COOKIES_SECURE = True

    response = post(client, "signup", {"email": new_email(), "password": PASSWORD})

    cookie = response.cookies["session"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["secure"]
    assert cookie["path"] == "/"
    assert cookie["max-age"] == settings.JWT_LIFETIME_SECONDS


def test_the_token_of_the_cookie_is_good_as_a_bearer_token(client):
    token = post(client, "signup", {"email": new_email(), "password": PASSWORD}).cookies["session"]

    response = Client().get(
        "/api/users/currentuser", headers={"Authorization": f"Bearer {token.value}"}
    )

    assert response.json()["currentUser"]["id"]


def test_an_address_in_use_is_refused_in_any_case(client):
    user = make_user()

    response = post(client, "signup", {"email": user.email.upper(), "password": PASSWORD})

    assert response.status_code == 400
    assert response.json()["errors"][0]["message"] == "Email in use"
    assert response.json()["errors"][0]["code"] == "email_in_use"
    assert "session" not in response.cookies


def test_signing_in(client):
    user = make_user()

    response = post(client, "signin", {"email": f" {user.email.upper()} ", "password": PASSWORD})

    assert response.status_code == 200
    assert response.json() == {"id": str(user.pk), "email": user.email}
    assert client.get("/api/users/currentuser").json()["currentUser"]["id"] == str(user.pk)


def test_both_causes_of_a_refused_sign_in_read_the_same(client):
    user = make_user()

    wrong = post(client, "signin", {"email": user.email, "password": "not this one"})
    unknown = post(client, "signin", {"email": new_email(), "password": PASSWORD})

    assert wrong.status_code == unknown.status_code == 400
    assert wrong.content == unknown.content
    assert messages_of(wrong) == ["Invalid credentials"]


def test_spaces_around_a_password_do_not_count(client):
    email = new_email()

    post(client, "signup", {"email": email, "password": f"  {PASSWORD} "})

    assert post(client, "signin", {"email": email, "password": PASSWORD}).status_code == 200
    assert post(client, "signin", {"email": email, "password": f"{PASSWORD}  "}).status_code == 200


def test_signing_out_clears_the_cookie(client):
    post(client, "signup", {"email": new_email(), "password": PASSWORD})

    response = post(client, "signout", {})

    assert response.status_code == 200
    assert response.json() == {}
    assert response.cookies["session"].value == ""
    assert client.get("/api/users/currentuser").json() == {"currentUser": None}


def test_signing_out_needs_nobody_to_be_signed_in(client):
    assert post(client, "signout", "").json() == {}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, [EMAIL_MESSAGE, PASSWORD_MESSAGE]),
        ({"email": None, "password": None}, [EMAIL_MESSAGE, PASSWORD_MESSAGE]),
        ({"email": "", "password": ""}, [EMAIL_MESSAGE, PASSWORD_MESSAGE]),
        ({"email": 7, "password": 12345678}, [EMAIL_MESSAGE, PASSWORD_MESSAGE]),
        ({"email": ["a@b.io"], "password": {"a": 1}}, [EMAIL_MESSAGE, PASSWORD_MESSAGE]),
        ({"email": True, "password": True}, [EMAIL_MESSAGE, PASSWORD_MESSAGE]),
        ({"email": "ada", "password": PASSWORD}, [EMAIL_MESSAGE]),
        ({"email": "ada@", "password": PASSWORD}, [EMAIL_MESSAGE]),
        ({"email": "a\x00da@example.com", "password": PASSWORD}, [EMAIL_MESSAGE]),
        ({"email": "ada@example.com\nBcc: x@y.io", "password": PASSWORD}, [EMAIL_MESSAGE]),
        ({"email": f"{'a' * 250}@example.com", "password": PASSWORD}, [EMAIL_MESSAGE]),
        ({"email": "<b>@example.com", "password": PASSWORD}, [EMAIL_MESSAGE]),
        ({"email": "new@example.com", "password": "1234567"}, [PASSWORD_MESSAGE]),
        ({"email": "new@example.com", "password": "1234567      "}, [PASSWORD_MESSAGE]),
        ({"email": "new@example.com", "password": "x" * 129}, [PASSWORD_MESSAGE]),
        (
            {"email": "new@example.com", "password": "12345\x0078"},
            ["Password must not contain control characters"],
        ),
    ],
)
def test_signing_up_badly_is_refused_in_the_courses_words(client, body, expected):
    response = post(client, "signup", body)

    assert response.status_code == 400
    assert messages_of(response) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, [EMAIL_MESSAGE, "You must supply a password"]),
        ({"email": "ada@example.com", "password": "   "}, ["You must supply a password"]),
        ({"email": "ada@example.com", "password": 5}, ["You must supply a password"]),
        ({"email": "ada@example.com", "password": "x" * 60_000}, ["Invalid credentials"]),
        ({"email": "ada@example.com", "password": "a\x00b"}, ["Invalid credentials"]),
        ({"email": {"$gt": ""}, "password": PASSWORD}, [EMAIL_MESSAGE]),
    ],
)
def test_signing_in_badly_is_refused_in_the_courses_words(client, body, expected):
    response = post(client, "signin", body)

    assert response.status_code == 400
    assert messages_of(response) == expected


@pytest.mark.parametrize("route", ["signup", "signin"])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{", 400),
        ("null", 400),
        ("[]", 400),
        ('"text"', 400),
        ("7", 400),
        ("1e999", 400),
        (b"\xff\xfe", 400),
        ('{"email": "\\ud800@example.com"}', 400),
        ("[" * 30_000, 400),
        ("x" * 70_000, 413),
    ],
)
def test_a_body_that_makes_no_sense_is_refused(client, route, body, status):
    response = post(client, route, body)

    assert response.status_code == status
    assert messages_of(response)[0]


def test_passwords_may_be_in_any_script(client):
    email = new_email()
    password = "пароль-密码-🎫"

    assert post(client, "signup", {"email": email, "password": password}).status_code == 201
    assert post(client, "signin", {"email": email, "password": password}).status_code == 200


@pytest.mark.parametrize(
    ("method", "route", "status"),
    [
        ("get", "signup", 405),
        ("put", "signin", 405),
        ("delete", "signout", 405),
        ("post", "currentuser", 405),
        ("get", "nothing", 404),
        ("get", "", 404),
    ],
)
def test_other_methods_and_routes_answer_in_the_shape_of_errors(client, method, route, status):
    response = getattr(client, method)(f"/api/users/{route}")

    assert response.status_code == status
    assert response.json()["errors"][0]["code"]


@pytest.mark.parametrize("cookie", ["", "junk", "a.b.c", "eyJhbGciOiJub25lIn0.e30."])
def test_a_cookie_that_is_no_token_stands_for_nobody(client, cookie):
    client.cookies["session"] = cookie

    assert client.get("/api/users/currentuser").json() == {"currentUser": None}


def test_a_token_past_half_of_its_life_is_replaced(client, settings):
    user = make_user()
    client.cookies["session"] = token_of(user, now=timezone.now() - timedelta(days=8))

    first = client.get("/api/users/currentuser")
    second = client.get("/api/users/currentuser")

    assert first.cookies["session"].value
    assert first.json()["currentUser"]["iat"] >= int(timezone.now().timestamp()) - 60
    assert "session" not in second.cookies


def test_a_token_of_a_closed_account_is_not_replaced_but_taken_away(client):
    user = make_user()
    client.cookies["session"] = token_of(user, now=timezone.now() - timedelta(days=8))
    services.set_active(user_id=str(user.pk), is_active=False, now=timezone.now())

    response = client.get("/api/users/currentuser")

    assert response.json() == {"currentUser": None}
    assert response.cookies["session"].value == ""


def test_a_token_of_an_account_that_never_was_is_taken_away(client):
    user = User(pk="65f1c0ffee65f1c0ffee65f1", email="ghost@example.com")
    client.cookies["session"] = token_of(user, now=timezone.now() - timedelta(days=8))

    assert client.get("/api/users/currentuser").json() == {"currentUser": None}


def test_an_expired_token_stands_for_nobody(client):
    client.cookies["session"] = token_of(make_user(), now=timezone.now() - timedelta(days=15))

    assert client.get("/api/users/currentuser").json() == {"currentUser": None}


def test_who_is_signed_in_is_told_without_a_query(client, django_assert_num_queries):
    client.cookies["session"] = token_of(make_user())

    with django_assert_num_queries(0):
        client.get("/api/users/currentuser")


def test_a_hundred_people_may_sign_up_from_one_address(client):
    cache.clear()

    for _ in range(100):
        assert post(client, "signin", {}).status_code == 400


@pytest.mark.parametrize("route", ["signup", "signin"])
def test_who_tries_too_often_is_asked_to_wait(client, route, monkeypatch):
    cache.clear()
    monkeypatch.setattr(
        "rest_framework.throttling.SimpleRateThrottle.THROTTLE_RATES",
        {"signup": "2/min", "signin": "2/min"},
    )

    statuses = [post(client, route, {}).status_code for _ in range(3)]
    refused = post(client, route, {})

    assert statuses == [400, 400, 429]
    assert refused.json()["errors"][0]["code"] == "throttled"
    assert int(refused["Retry-After"]) > 0
    cache.clear()


def test_the_schema_tells_every_route_in_the_apis_own_names(client):
    schema = client.get("/auth/api/schema/", headers={"Accept": "application/json"})

    paths = schema.text
    for route in ("signup", "signin", "signout", "currentuser"):
        assert f"/api/users/{route}" in paths
    assert "currentUser" in paths
    assert "current_user" not in paths
    assert "Email in use" in paths
