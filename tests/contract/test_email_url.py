"""EMAIL_URL, beside what Django's mail backends take."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import get_connection

from ticketing.env import env_email


@pytest.mark.parametrize(
    ("url", "facts"),
    [
        ("smtp://mail.example", {"host": "mail.example", "port": 25, "use_tls": False}),
        ("smtp+tls://mail.example", {"port": 587, "use_tls": True, "use_ssl": False}),
        ("smtps://mail.example:4650", {"port": 4650, "use_tls": False, "use_ssl": True}),
        ("smtp://me%40x:p%2Fw@mail.example", {"username": "me@x", "password": "p/w"}),
        ("smtp://[::1]:2525", {"host": "::1", "port": 2525}),
    ],
)
def test_the_url_of_a_server_says_how_to_talk_to_it(monkeypatch, url, facts):
    monkeypatch.setenv("EMAIL_URL", url)

    connection = get_connection(**env_email("EMAIL_URL", ""))

    assert {name: getattr(connection, name) for name in facts} == facts
    assert connection.timeout


@pytest.mark.parametrize("url", ["", "mail.example", "http://mail.example", "smtp://", "file:x"])
def test_anything_else_is_refused_at_the_start(monkeypatch, url):
    monkeypatch.setenv("EMAIL_URL", url)

    with pytest.raises(ImproperlyConfigured, match="EMAIL_URL must look like"):
        env_email("EMAIL_URL", "smtp://127.0.0.1")
