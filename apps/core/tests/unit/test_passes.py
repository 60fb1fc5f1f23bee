from __future__ import annotations

from datetime import UTC, datetime

import pytest

from apps.core.identity import issue_token, read_token
from apps.core.passes import Pass, pass_address, read_pass, sign_pass

CLAIMS = Pass("0193a5b0-0000-7000-8000-000000000001", "65f1c0ffee65f1c0ffee65f1", "buyer")


def test_a_pass_says_whom_it_lets_in():
    assert read_pass(sign_pass(CLAIMS)) == CLAIMS


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: "",
        lambda _: "junk",
        lambda text: text[:-1],
        lambda text: text.replace("buyer", "other"),
        lambda text: text + "x" * 600,
        lambda text: text.replace(":", "."),
        lambda text: "\ud800" + text,
    ],
)
def test_what_was_not_signed_here_is_no_pass(spoil):
    assert read_pass(spoil(sign_pass(CLAIMS))) is None


def test_a_pass_is_no_session_and_a_session_is_no_pass():
    session = issue_token("42", "ada@example.com", is_staff=True, now=datetime.now(UTC))

    assert read_token(sign_pass(CLAIMS)) is None
    assert read_pass(session) is None


def test_a_pass_of_the_key_before_is_still_good(settings):
    text = sign_pass(CLAIMS)
    settings.JWT_KEY_PREVIOUS = settings.JWT_KEY
    settings.JWT_KEY = "a-new-key-that-is-long-enough-to-be-one"

    assert read_pass(text) == CLAIMS

    settings.JWT_KEY_PREVIOUS = ""
    assert read_pass(text) is None


def test_the_address_of_a_pass_needs_no_quoting_and_fits_a_code(settings):
    address = pass_address(CLAIMS)

    assert address.startswith(f"{settings.PUBLIC_URL}/orders/verify/")
    assert all(each.isascii() and (each.isalnum() or each in "-_.:/") for each in address)
    assert len(address) < 220
