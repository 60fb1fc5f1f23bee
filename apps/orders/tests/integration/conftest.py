from __future__ import annotations

import pytest
from django.test import Client
from django.utils import timezone

from apps.core.identity import issue_token


@pytest.fixture
def sign_in():
    """Return a function that makes a browser in which the user is signed in."""

    def make(user_id="buyer", *, is_staff=False, **options):
        client = Client(**options)
        token = issue_token(user_id, f"{user_id}@example.com", is_staff, timezone.now())
        client.cookies["session"] = token
        return client

    return make


@pytest.fixture
def buyer(sign_in):
    return sign_in("buyer")
