"""What a mark that fails leaves behind."""

# ruff: noqa: ARG002 (fakes take what they are given)

from __future__ import annotations

import time
import uuid

import pytest

from apps.outbox.marking import Marker
from apps.outbox.stores import Settlement


class Away(Exception):
    pass


class BrokenStore:
    def settle(self, owner, seconds, settlement):
        raise Away


class Members:
    owner, seconds, clock = "one", 5.0, time.monotonic


def test_rows_whose_mark_has_failed_count_as_unmarked_until_they_are_forgotten():
    marker = Marker(BrokenStore(), Members(), most=10)
    marker.add(Settlement(published=[uuid.uuid4()]))

    with pytest.raises(Away):
        marker.finish()

    assert marker.forget()
    assert not marker.forget()
    marker.close()
