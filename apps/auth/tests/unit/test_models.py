from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.auth.models import User, normalize_email


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("Ada@Example.COM", "ada@example.com"),
        ("  ada@example.com ", "ada@example.com"),
        ("ada@example.com", "ada@example.com"),
        ("ａｄａ@example.com", "ada@example.com"),  # noqa: RUF001 (full-width letters)
    ],
)
def test_an_address_is_stored_in_one_form(written, stored):
    assert normalize_email(written) == stored


@given(st.emails())
def test_the_stored_form_stays_as_it_is(email):
    once = normalize_email(email)

    assert normalize_email(once) == once
    assert normalize_email(email.upper().lower()) == once


@pytest.mark.parametrize(
    ("is_active", "is_staff", "expected"),
    [(True, True, True), (True, False, False), (False, True, False)],
)
def test_only_open_accounts_of_staff_may_administer(is_active, is_staff, expected):
    assert User(is_active=is_active, is_staff=is_staff).may_administer is expected
