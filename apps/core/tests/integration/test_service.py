"""What every service answers, on whichever store it stands."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.db import connection
from django.db.utils import ConnectionHandler
from django.templatetags.static import static
from django.test import Client
from django.utils import timezone

from apps.core import health
from apps.core.identity import issue_token

pytestmark = [pytest.mark.django_db, pytest.mark.urls("apps.core.tests.urls")]

ADMIN = f"/{settings.SERVICE_NAME}/admin/"
STAFF_ID = "65f1c0ffee65f1c0ffee65f1"


@pytest.fixture
def client():
    return Client(raise_request_exception=False)


@pytest.fixture
def token():
    return issue_token("42", "ada@example.com", is_staff=False, now=timezone.now())


@pytest.fixture
def staff_token():
    if settings.AUTH_USER_MODEL == "auth.User":
        return issue_token(STAFF_ID, "ops@example.com", is_staff=True, now=timezone.now())
    user = get_user_model().objects.create(
        email="ops@example.com", is_staff=True, is_superuser=True, registered_at=timezone.now()
    )
    return issue_token(str(user.pk), user.email, is_staff=True, now=timezone.now())


def errors_of(response):
    return response.json()["errors"]


def test_the_probes_answer(client):
    assert client.get("/healthz").json() == {"status": "ok", "service": settings.SERVICE_NAME}
    assert client.get("/readyz").json()["database"] == "ok"


def test_a_service_without_its_database_is_not_ready():
    nowhere = settings.DATABASES["default"] | {"PORT": "1"}
    if connection.vendor == "mongodb":
        nowhere |= {"HOST": "mongodb://127.0.0.1:1/", "PORT": ""}
        nowhere["OPTIONS"] = {"serverSelectionTimeoutMS": 100}
    away = ConnectionHandler({"default": {}, "away": nowhere})["away"]

    answer = health.readiness(away)

    assert answer.status_code == 503
    assert b"unavailable" in answer.content
    if connection.vendor == "mongodb":
        away.close_pool()


@pytest.mark.parametrize(
    ("kind", "status", "error"),
    [
        (
            "invalid",
            400,
            {
                "message": "Price must be greater than 0",
                "code": "price",
                "field": "priceCents",
            },
        ),
        ("stranger", 401, {"message": "Not authorized", "code": "not_authorized"}),
        ("forbidden", 403, {"message": "Not yours", "code": "not_allowed"}),
        ("missing", 404, {"message": "Not Found", "code": "not_found"}),
        ("conflict", 400, {"message": "Ticket is already reserved", "code": "already_reserved"}),
    ],
)
def test_a_refusal_has_the_status_of_its_kind(client, kind, status, error):
    response = client.get(f"/api/refuse/{kind}")

    assert response.status_code == status
    assert errors_of(response) == [error]


@pytest.mark.parametrize("path", ["/api/refuse/outage", "/outage/"])
def test_an_outage_of_the_database_asks_to_come_back(client, path):
    response = client.get(path)

    assert response.status_code == 503
    assert response["Retry-After"]


@pytest.mark.parametrize(
    ("path", "status"), [("/api/nothing", 404), ("/api/", 404), ("/api", 404), ("/api/broken", 500)]
)
def test_an_error_of_the_api_is_json_even_before_a_view_is_found(client, path, status):
    response = client.get(path, headers={"Accept": "text/html"})

    assert response.status_code == status
    assert errors_of(response)[0]["message"]


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [("/nothing/", 404, "There is nothing here"), ("/broken/", 500, "Something broke")],
)
def test_an_error_of_a_page_is_a_page(client, path, status, text):
    response = client.get(path)

    assert response.status_code == status
    assert text in response.text
    assert "<nav" in response.text


def test_an_address_of_the_api_is_good_with_and_without_a_closing_slash(client):
    for path in ("/api/echo", "/api/echo/"):
        response = client.post(path, {"orderId": "7"}, content_type="application/json")

        assert response.json() == {"wasRead": {"orderId": "7"}}
    assert client.post("/api/echo//").status_code == 404


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ("{", "application/json", 400),
        ("[" * 30_000, "application/json", 400),
        (b"\xff", "application/json", 400),
        ("x" * 70_000, "application/json", 413),
        ("order_id=7", "application/x-www-form-urlencoded", 415),
        ("<order/>", "text/xml", 415),
        ("{}", "application/json; charset=nonsense", 200),
        ("{}", "nonsense", 415),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_and_breaks_nothing(
    client, body, content_type, status
):
    response = client.generic("POST", "/api/echo", body, content_type=content_type)

    assert response.status_code == status
    if status != 200:
        assert errors_of(response)


@pytest.mark.parametrize("path", ["/api/echo", "/api/nothing", "/nothing/"])
@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded"])
def test_a_large_body_is_read_to_its_end_so_that_its_client_sees_the_answer(client, path, kind):
    body = io.BytesIO(b"x" * 3_000_000)
    unread = {"wsgi.input": body, "CONTENT_LENGTH": "3000000"}

    response = client.generic("POST", path, content_type=kind, **unread)

    assert response.status_code >= 400
    assert body.read() == b""


def test_a_stranger_is_told_how_to_be_known(client):
    response = client.get("/api/mine")

    assert response.status_code == 401
    assert errors_of(response) == [{"message": "Not authorized", "code": "not_authorized"}]
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_cookie_and_header_are_both_good(client, token):
    by_header = client.get("/api/mine", headers={"Authorization": f"bearer {token}"})
    client.cookies["session"] = token
    by_cookie = client.get("/api/mine")

    assert by_header.json() == by_cookie.json() == {"ownerId": "42"}


def test_another_sites_page_cannot_use_the_cookie(client, token):
    client.cookies["session"] = token
    foreign = {"Origin": "http://evil.example"}

    refused = client.post("/api/mine", headers=foreign)
    own = client.post("/api/mine", headers={"Origin": "http://testserver"})
    bearer = client.post("/api/mine", headers=foreign | {"Authorization": f"Bearer {token}"})

    assert refused.status_code == 403
    assert errors_of(refused)[0]["code"] == "foreign_origin"
    assert own.status_code == bearer.status_code == 200


def test_a_limit_counts_by_the_address_that_the_gateway_saw(client):
    cache.clear()
    ada = {"X-Forwarded-For": "6.6.6.6, 10.0.0.1"}

    assert client.get("/api/rare", headers=ada).status_code == 200
    # Whatever the client itself writes in front of it changes nothing.
    again = client.get("/api/rare", headers={"X-Forwarded-For": "7.7.7.7, 10.0.0.1"})
    other = client.get("/api/rare", headers={"X-Forwarded-For": "10.0.0.2"})

    assert again.status_code == 429
    assert errors_of(again)[0]["code"] == "throttled"
    assert int(again["Retry-After"]) > 0
    assert other.status_code == 200
    cache.clear()


def test_a_page_sends_strangers_to_sign_in_and_back(client, token):
    assert client.get("/page/?a=1")["Location"] == "/auth/signin/?next=%2Fpage%2F%3Fa%3D1"
    client.cookies["session"] = token
    assert client.get("/page/").text == "ada@example.com"


@pytest.mark.parametrize(
    ("referer", "back"),
    [
        ("http://testserver/tickets/7/", "%2Ftickets%2F7%2F"),
        ("http://evil.example/", "%2F"),
        ("http://testserver.evil.example/", "%2F"),
        ("", "%2F"),
    ],
)
def test_a_form_sent_by_a_stranger_comes_back_to_its_page(client, referer, back):
    response = client.post("/page/", headers={"Referer": referer})

    assert response["Location"] == f"/auth/signin/?next={back}"


def test_a_message_can_be_read_by_another_service(client, settings):
    client.get("/say/")
    settings.SECRET_KEY = "the-secret-key-of-quite-another-service"

    assert "Somebody else was faster" in client.get("/nothing/").text


def test_a_request_keeps_the_id_that_it_came_with(client):
    assert (
        client.get("/healthz", headers={"X-Request-ID": "from-the-gateway"})["X-Request-ID"]
        == "from-the-gateway"
    )
    assert client.get("/healthz", headers={"X-Request-ID": "a\tb" * 10})["X-Request-ID"] != "a\tb"


def test_the_api_has_a_page_to_try_it(client):
    page = client.get(f"/{settings.SERVICE_NAME}/api/docs/")
    schema = client.get(f"/{settings.SERVICE_NAME}/api/schema/")

    assert page.status_code == schema.status_code == 200
    assert "/api/echo" in schema.text
    assert "<script>" not in page.text
    assert "https://" not in page.text


def test_the_admin_sends_strangers_to_the_one_sign_in_page(client):
    response = client.get(ADMIN, follow=True)

    assert response.redirect_chain[-1][0].startswith("/auth/signin/?next=")
    assert settings.SERVICE_NAME in response.redirect_chain[-1][0]


def test_the_admin_does_not_open_to_everybody_who_is_signed_in(client, token):
    client.cookies["session"] = token

    response = client.get(ADMIN, follow=True)

    assert response.status_code == 403


def test_staff_are_in_every_admin_without_signing_in_again(client, staff_token):
    client.cookies["session"] = staff_token

    for _ in range(2):
        response = client.get(ADMIN)
        assert response.status_code == 200
    assert "ops@example.com" in response.text or STAFF_ID in response.text
    assert get_user_model().objects.filter(email="ops@example.com").count() == 1


@pytest.mark.parametrize(
    "address",
    ["outbox/deadletter/?topic=%00", "outbox/deadletter/?q=%00", "outbox/deadletter/%00/"],
)
def test_an_address_with_a_nul_names_nothing_in_the_admin(client, staff_token, address):
    """PostgreSQL takes a NUL in no text, and refused the query with an error of its own."""
    client.cookies["session"] = staff_token

    assert client.get(ADMIN + address).status_code == 404


def test_leaving_the_admin_ends_the_session_of_all(client, staff_token):
    client.cookies["session"] = staff_token

    response = client.post(f"{ADMIN}logout/")

    assert response.cookies["session"].value == ""
    assert client.get(ADMIN).status_code == 302


def test_a_shadow_that_an_administrator_closed_stays_out(client, staff_token):
    client.cookies["session"] = staff_token
    client.get(ADMIN)
    get_user_model().objects.filter(email="ops@example.com").update(is_active=False)

    assert client.get(ADMIN, follow=True).status_code == 403


def test_a_forged_staff_token_opens_nothing(client, settings):
    key = settings.JWT_KEY
    settings.JWT_KEY = "an-attackers-key-that-is-long-enough"
    forged = issue_token(STAFF_ID, "ops@example.com", is_staff=True, now=timezone.now())
    settings.JWT_KEY = key
    client.cookies["session"] = forged

    assert client.get(ADMIN).status_code == 302


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (f"{ADMIN}auth/", f"{ADMIN}auth/"),
        ("//evil.example/", ADMIN),
        ("https://evil.example/", ADMIN),
        ("", ADMIN),
    ],
)
def test_the_admins_sign_in_leads_staff_on_and_never_astray(client, staff_token, after, expected):
    client.cookies["session"] = staff_token

    assert client.get(f"{ADMIN}login/", {"next": after})["Location"] == expected


def test_a_link_cannot_sign_staff_out(client, staff_token):
    client.cookies["session"] = staff_token

    assert "session" not in client.get(f"{ADMIN}logout/").cookies
    assert client.get(ADMIN).status_code == 200


def test_passwords_are_changed_where_they_live(client, staff_token):
    client.cookies["session"] = staff_token

    assert client.get(f"{ADMIN}password_change/")["Location"] == "/auth/account/"


def test_the_shadows_of_staff_are_shown_and_not_made(client, staff_token):
    client.cookies["session"] = staff_token
    # Where users live they have an admin of their own.
    shadows = f"{ADMIN}auth/user/"
    expected = (200, 403) if settings.AUTH_USER_MODEL == "auth.User" else (404, 404)

    assert (client.get(shadows).status_code, client.get(f"{shadows}add/").status_code) == expected
    assert client.get(f"{ADMIN}auth/group/").status_code == 404


def test_a_visitor_stays_signed_in_while_tokens_cannot_be_renewed(client, settings):
    settings.TOKEN_RENEWAL = "apps.core.tests.urls.renew_during_an_outage"
    long_ago = timezone.now() - timedelta(seconds=settings.JWT_LIFETIME_SECONDS * 0.6)
    client.cookies["session"] = issue_token("42", "ada@example.com", is_staff=False, now=long_ago)

    response = client.get("/api/mine")

    assert response.json() == {"ownerId": "42"}
    assert "session" not in response.cookies


def test_a_visitor_whose_account_is_gone_loses_the_cookie(client, settings):
    settings.TOKEN_RENEWAL = "apps.core.tests.urls.renew_to_nothing"
    long_ago = timezone.now() - timedelta(seconds=settings.JWT_LIFETIME_SECONDS * 0.6)
    client.cookies["session"] = issue_token("42", "ada@example.com", is_staff=False, now=long_ago)

    response = client.get("/api/mine")

    assert response.status_code == 401
    assert response.cookies["session"].value == ""


def test_a_style_sheet_that_was_not_collected_breaks_no_page():
    assert static("core/never-collected.css") == "/static/core/never-collected.css"


def test_no_page_runs_a_script_that_stands_in_it(client):
    for path in (ADMIN, f"/{settings.SERVICE_NAME}/api/docs/", "/nowhere/"):
        policy = client.get(path)["Content-Security-Policy"]
        scripts = policy.partition("script-src")[2] or policy.partition("default-src")[2]

        assert scripts.partition(";")[0].strip() == "'self'"
