from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from apps.auth import selectors, services
from apps.auth.tests.factories import PASSWORD, make_user, new_email

pytestmark = pytest.mark.django_db


def run(*arguments):
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def password(monkeypatch):
    monkeypatch.setenv("STAFF_PASSWORD", PASSWORD)
    return "STAFF_PASSWORD"


def test_staff_are_made_with_a_password_from_the_environment(password):
    email = new_email()

    run("create_staff", "--email", email, "--password-from-env", password)

    assert services.sign_in(email=email, password=PASSWORD, now=timezone.now()).may_administer


def test_making_staff_twice_changes_no_password(password, monkeypatch):
    email = new_email()
    run("create_staff", "--email", email, "--password-from-env", password)
    monkeypatch.setenv(password, "another password")

    run("create_staff", "--email", email.upper(), "--password-from-env", password)

    assert services.sign_in(email=email, password=PASSWORD, now=timezone.now())


def test_a_password_is_reset_on_request(password):
    user = make_user(password="the old password")

    run("create_staff", "--email", user.email, "--password-from-env", password, "--reset-password")

    assert services.sign_in(email=user.email, password=PASSWORD, now=timezone.now()).may_administer


@pytest.mark.parametrize("value", ["", "short", "x" * 129])
def test_a_password_that_nobody_may_have_is_refused(value, monkeypatch):
    monkeypatch.setenv("STAFF_PASSWORD", value)
    email = new_email()

    with pytest.raises(CommandError, match="STAFF_PASSWORD must be between 8 and 128"):
        run("create_staff", "--email", email, "--password-from-env", "STAFF_PASSWORD")

    assert selectors.find_user_by_email(email=email) is None


def test_without_a_variable_the_password_is_asked_for(monkeypatch):
    monkeypatch.setattr("getpass.getpass", lambda _prompt: PASSWORD)
    email = new_email()

    run("create_staff", "--email", email)

    assert services.sign_in(email=email, password=PASSWORD, now=timezone.now()).may_administer


def test_demo_accounts_are_made_once(settings):
    settings.DEMO_PASSWORDS = {
        "seller@example.com": "seller's password",
        "buyer@example.com": "buyer's password",
        "admin@example.com": "admin's password",
    }

    first = run("create_demo_accounts")
    second = run("create_demo_accounts")

    assert first.count("created") == 3
    assert second.count("exists") == 3
    assert services.sign_in(
        email="admin@example.com", password="admin's password", now=timezone.now()
    ).is_staff
    assert not services.sign_in(
        email="buyer@example.com", password="buyer's password", now=timezone.now()
    ).is_staff


def test_demo_accounts_need_their_passwords(settings):
    settings.DEMO_PASSWORDS = {"seller@example.com": "", "buyer@example.com": "long enough"}

    with pytest.raises(CommandError, match=r"seller@example\.com"):
        run("create_demo_accounts")
