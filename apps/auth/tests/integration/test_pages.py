from __future__ import annotations

import re

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from apps.auth import selectors, services
from apps.auth.models import User
from apps.auth.tests.factories import PASSWORD, make_staff, make_user, new_email, token_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def client():
    return Client(raise_request_exception=False)


def test_a_person_signs_up_and_is_signed_in_everywhere(client):
    email = new_email()

    response = client.post("/auth/signup/", {"email": email.upper(), "password": PASSWORD})

    assert response.status_code == 302
    assert response["Location"] == "/"
    assert response.cookies["session"]["httponly"]
    assert email in client.get("/auth/account/").text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "Email must be valid"),
        ({"email": "ada", "password": PASSWORD}, "Email must be valid"),
        (
            {"email": "a@example.com", "password": "short"},
            "Password must be between 8 and 128 characters",
        ),
        ({"email": "a@example.com", "password": "x" * 129}, "Password must be between"),
        ({"email": "a@example.com", "password": "12345\x00789"}, "Null characters"),
        ({"email": "a@example.com", "password": "12345\x07789"}, "control characters"),
        ({"email": "\x00@example.com", "password": PASSWORD}, "Null characters"),
    ],
)
def test_what_is_wrong_is_said_beside_the_field(client, data, message):
    response = client.post("/auth/signup/", data)

    assert response.status_code == 400
    assert message in response.text
    assert 'aria-invalid="true"' in response.text
    errors = re.findall(r'class="field__error" id="([^"]+)"', response.text)
    assert errors
    for error in errors:
        assert re.search(rf'aria-describedby="[^"]*{error}"', response.text)


def test_an_address_in_use_is_said_beside_the_field(client):
    user = make_user()

    response = client.post("/auth/signup/", {"email": user.email, "password": PASSWORD})

    assert response.status_code == 400
    assert "Email in use" in response.text
    assert user.email in response.text


def test_a_typed_password_is_never_sent_back(client):
    response = client.post("/auth/signin/", {"email": "ada", "password": "secret-so-far"})

    assert "secret-so-far" not in response.text


def test_a_person_signs_in_and_goes_on_to_where_they_were_heading(client):
    user = make_user()

    page = client.get("/auth/signin/?next=/tickets/new/")
    response = client.post(
        "/auth/signin/", {"email": user.email, "password": PASSWORD, "next": "/tickets/new/"}
    )

    assert 'value="/tickets/new/"' in page.text
    assert response["Location"] == "/tickets/new/"


@pytest.mark.parametrize(
    "after",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "javascript:alert(1)",
        "/\x09/evil.example",
        "evil",
        "/auth/signin/",
        "/auth/signout/",
    ],
)
def test_signing_in_never_leads_to_another_site_or_in_a_circle(client, after):
    user = make_user()

    response = client.post(
        "/auth/signin/", {"email": user.email, "password": PASSWORD, "next": after}
    )

    assert response["Location"] == "/"


def test_a_hostile_address_to_go_on_to_is_not_shown(client):
    page = client.get("/auth/signin/", {"next": '/"><script>alert(1)</script>'})

    assert "<script>alert" not in page.text


def test_both_causes_of_a_refused_sign_in_look_the_same(client):
    user = make_user()

    def refused(email, password):
        page = client.post("/auth/signin/", {"email": email, "password": password})
        assert page.status_code == 400
        assert "Invalid credentials" in page.text
        text = re.sub(r'name="csrfmiddlewaretoken" value="[^"]+"', "", page.text)
        return text.replace(email, "EMAIL")

    assert refused(user.email, "wrong password") == refused(new_email(), PASSWORD)


def test_whoever_is_signed_in_needs_no_form(client):
    client.cookies["session"] = token_of(make_user())

    assert client.get("/auth/signin/?next=/orders/")["Location"] == "/orders/"
    assert client.get("/auth/signup/")["Location"] == "/"


def test_signing_out_is_a_form_and_ends_the_session(client):
    client.cookies["session"] = token_of(make_user())

    assert client.get("/auth/signout/").status_code == 405
    response = client.post("/auth/signout/")

    assert response["Location"] == "/"
    assert response.cookies["session"].value == ""


def test_a_form_from_another_site_is_refused_with_a_page():
    client = Client(enforce_csrf_checks=True)

    response = client.post("/auth/signin/", {"email": "a@example.com", "password": PASSWORD})

    assert response.status_code == 403
    assert "Nothing was changed" in response.text


def test_strangers_have_no_account_page(client):
    assert client.get("/auth/account/")["Location"] == "/auth/signin/?next=%2Fauth%2Faccount%2F"


def test_a_closed_account_has_no_page_and_loses_its_cookie(client):
    client.cookies["session"] = token_of(make_user(is_active=False))

    response = client.get("/auth/account/")

    assert response["Location"] == "/auth/signin/"
    assert response.cookies["session"].value == ""


def test_the_address_is_changed_on_the_account_page(client):
    user = make_user()
    client.cookies["session"] = token_of(user)
    email = new_email()

    response = client.post(
        "/auth/account/",
        {"action": "email", "email-email": email, "email-current_password": PASSWORD},
        follow=True,
    )

    assert f"you sign in as {email}" in response.text
    assert services.sign_in(email=email, password=PASSWORD, now=timezone.now()).pk == user.pk


def test_the_password_is_changed_on_the_account_page(client):
    user = make_user()
    client.cookies["session"] = token_of(user)

    client.post(
        "/auth/account/",
        {
            "action": "password",
            "password-current_password": PASSWORD,
            "password-new_password": "another password",
        },
    )

    assert (
        services.sign_in(email=user.email, password="another password", now=timezone.now()).pk
        == user.pk
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {
                "action": "email",
                "email-email": "b@example.com",
                "email-current_password": "wrong",
            },
            "This is not your current password",
        ),
        (
            {"action": "password", "password-current_password": PASSWORD},
            "Password must be between 8 and 128 characters",
        ),
        ({"action": "email"}, "You must supply a password"),
    ],
)
def test_what_is_wrong_with_a_change_is_said_beside_its_field(client, data, message):
    user = make_user()
    client.cookies["session"] = token_of(user)

    response = client.post("/auth/account/", data)

    assert response.status_code == 400
    assert message in response.text
    assert selectors.find_user(user_id=str(user.pk)).email == user.email


@pytest.mark.parametrize("action", ["", "nonsense"])
def test_a_change_of_nothing_changes_nothing(client, action):
    client.cookies["session"] = token_of(make_user())

    assert client.post("/auth/account/", {"action": action}).status_code == 200


@pytest.mark.parametrize("page", ["/auth/signin/", "/auth/signup/", "/auth/account/"])
def test_who_tries_too_often_reads_why_nothing_happens(client, page, monkeypatch):
    cache.clear()
    monkeypatch.setattr(
        "rest_framework.throttling.SimpleRateThrottle.THROTTLE_RATES",
        {"signup": "1/min", "signin": "1/min"},
    )

    if page == "/auth/account/":
        client.cookies["session"] = token_of(make_user())

    client.post(page, {"action": "email"})
    response = client.post(
        page, {"email": "a@example.com", "password": PASSWORD, "action": "email"}
    )

    assert response.status_code == 429
    assert "Too many attempts" in response.text
    cache.clear()


def test_a_huge_form_is_refused_with_a_page(client):
    response = client.post("/auth/signin/", {"email": "x" * 100_000})

    assert response.status_code == 413
    assert "too large" in response.text


class TestAdmin:
    @pytest.fixture
    def staff(self, client):
        staff = make_staff()
        client.cookies["session"] = token_of(staff)
        return staff

    def act(self, client, action, *users):
        return client.post(
            "/auth/admin/accounts/user/",
            {"action": action, "_selected_action": [str(user.pk) for user in users]},
            follow=True,
        )

    @pytest.mark.usefixtures("staff")
    def test_people_are_found_by_a_part_of_their_address(self, client):
        user = make_user()

        page = client.get("/auth/admin/accounts/user/", {"q": user.email[:20]})

        assert user.email in page.text

    @pytest.mark.usefixtures("staff")
    def test_people_are_found_by_their_id(self, client):
        user = make_user()

        page = client.get("/auth/admin/accounts/user/", {"q": str(user.pk)})

        assert user.email in page.text

    @pytest.mark.usefixtures("staff")
    @pytest.mark.parametrize("query", ["(", "[", "\\", "x" * 1000])
    def test_a_strange_search_finds_nobody_and_breaks_nothing(self, client, query):
        assert client.get("/auth/admin/accounts/user/", {"q": query}).status_code == 200

    @pytest.mark.usefixtures("staff")
    def test_an_account_is_closed_and_reopened(self, client):
        user = make_user()

        self.act(client, "close", user)
        assert not User.objects.get(pk=user.pk).is_active

        self.act(client, "reopen", user)
        user.refresh_from_db()
        assert (user.is_active, user.version) == (True, 3)

    @pytest.mark.usefixtures("staff")
    def test_people_are_let_into_the_administration_and_kept_out(self, client):
        user = make_user()

        self.act(client, "let_in", user)
        assert User.objects.get(pk=user.pk).may_administer

        self.act(client, "keep_out", user)
        assert not User.objects.get(pk=user.pk).may_administer

    def test_staff_cannot_close_their_own_account(self, client, staff):
        page = self.act(client, "close", staff)

        assert "left alone" in page.text
        assert User.objects.get(pk=staff.pk).is_active

    def test_a_dismissal_takes_effect_at_once(self, client, staff):
        services.set_staff(user_id=str(staff.pk), is_staff=False)

        assert client.get("/auth/admin/", follow=True).status_code == 403

    @pytest.mark.usefixtures("staff")
    def test_a_user_is_shown_and_cannot_be_edited(self, client):
        user = make_user()

        page = client.get(f"/auth/admin/accounts/user/{user.pk}/change/")

        assert page.status_code == 200
        assert user.email in page.text
        assert user.password not in page.text
        assert 'name="email"' not in page.text


def test_a_locked_account_is_told_when_to_come_back(client, settings):
    settings.SIGNIN_FAILURES_LIMIT = 1
    user = make_user()
    client.post("/auth/signin/", {"email": user.email, "password": "wrong password"})

    page = client.post("/auth/signin/", {"email": user.email, "password": PASSWORD})
    answer = client.post(
        "/api/users/signin",
        {"email": user.email, "password": PASSWORD},
        content_type="application/json",
    )

    assert page.status_code == answer.status_code == 429
    assert "Too many wrong passwords. Try again in 15 minutes" in page.text
    assert answer.json()["errors"][0]["code"] == "account_locked"
