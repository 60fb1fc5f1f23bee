from __future__ import annotations

import os

import psycopg
import pytest

from ticketing.env import env_postgresql

CASES = {
    "postgresql://anna:secret@orders-postgres:5432/orders?schema=public": ("5432", {}),
    "postgres://anna:secret@orders-postgres/orders?schema=public&sslmode=require": (
        "",
        {"sslmode": "require"},
    ),
}


@pytest.mark.parametrize("url", CASES)
def test_parameters_of_other_clients_do_not_disturb(monkeypatch, url):
    port, options = CASES[url]
    monkeypatch.setenv("SOME_URL", url)

    entry = env_postgresql("SOME_URL")

    assert (entry["NAME"], entry["HOST"], str(entry["PORT"])) == ("orders", "orders-postgres", port)
    assert entry["OPTIONS"] == {"connect_timeout": 3} | options


def test_postgresql_takes_what_is_left_of_the_original_url(monkeypatch):
    server = os.environ["DATABASE_URL"].rpartition("/")[0]
    monkeypatch.setenv("SOME_URL", f"{server}/postgres?schema=public")

    entry = env_postgresql("SOME_URL")

    with psycopg.connect(
        host=entry["HOST"],
        port=entry["PORT"],
        user=entry["USER"],
        password=entry["PASSWORD"],
        dbname=entry["NAME"],
        **entry["OPTIONS"],
    ) as connection:
        assert connection.execute("SHOW search_path").fetchone()
