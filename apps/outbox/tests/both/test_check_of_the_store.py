from __future__ import annotations

import pytest

from apps.outbox.checks import check_replica_set

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_store_has_transactions():
    assert check_replica_set(None, databases=["default"]) == []


def test_no_database_is_asked_unless_the_check_is_for_it():
    assert check_replica_set(None) == []
