"""Fixtures of every test, whichever service's settings it runs on, or none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connections
from django.test import TransactionTestCase
from pytest_django.lazy_django import django_settings_is_configured
from pytest_socket import disable_socket, enable_socket

# Written once, by migrate: emptying them costs more than the test that follows.
KEPT_COLLECTIONS = frozenset({"django_migrations", "django_content_type", "auth_permission"})


def is_unit_test(path: Path) -> bool:
    return path.parent.name == "unit"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run unit tests first: they fail fastest, and no server's client is open beside them yet."""
    items.sort(key=lambda item: not is_unit_test(item.path))


@pytest.fixture(autouse=True)
def no_network_in_unit_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    if not is_unit_test(request.path):
        yield
        return
    disable_socket(allow_unix_socket=True)
    yield
    enable_socket()


@pytest.fixture(scope="session", autouse=True)
def fast_flush_of_mongodb() -> Iterator[None]:
    """Empty MongoDB's test database in one pass after each test, and close its clients at the end.

    No test on MongoDB can roll back, so Django flushes after each one and then makes all
    permissions anew, which takes longer than most tests; and it would leave collections alone that
    belong to no model.
    """
    if not django_settings_is_configured():
        yield
        return
    if any(connection.vendor != "mongodb" for connection in connections.all()):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda _test: empty_mongodb())
        yield
    for connection in connections.all():
        connection.close_pool()


def empty_mongodb() -> None:
    for connection in connections.all():
        database = connection.database
        # A fixture that reaches the database in a test without the django_db mark gets the real
        # one: pytest-django renames only the databases of marked tests.
        assert database.name.startswith("test_"), f"{database.name} is no test database"
        for name in database.list_collection_names():
            if name not in KEPT_COLLECTIONS and not name.startswith("system."):
                database[name].delete_many({})
