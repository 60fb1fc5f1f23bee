from __future__ import annotations

import pytest
from django.db import IntegrityError
from django.utils import timezone

from apps.outbox.models import ReceivedEvent
from apps.outbox.transactions import (
    TransactionAbandoned,
    TransactionRequired,
    is_open,
    on_commit,
    require,
    transactional,
)

pytestmark = pytest.mark.django_db(transaction=True)


class NoSeat(Exception):
    """Any refusal by the code inside of a transaction."""


def write(name):
    ReceivedEvent.objects.create(
        id=name, key="test", version=0, partition=0, offset=0, received_at=timezone.now()
    )


def written():
    return set(ReceivedEvent.objects.values_list("id", flat=True))


@transactional
def write_all(*names, then=lambda: None):
    for name in names:
        write(name)
    return then()


def refuse():
    raise NoSeat


def test_transaction_keeps_all_and_returns_what_its_function_returns():
    assert write_all("a", "b", then=lambda: 42) == 42
    assert written() == {"a", "b"}


def test_raise_undoes_all():
    with pytest.raises(NoSeat):
        write_all("a", "b", then=refuse)

    assert written() == set()


def test_nested_function_joins_and_falls_with_the_outer_one():
    @transactional
    def outer():
        write("outer")
        write_all("inner")
        refuse()

    with pytest.raises(NoSeat):
        outer()

    assert written() == set()


def test_refusal_of_a_nested_function_may_be_answered():
    @transactional
    def outer():
        write("outer")
        with pytest.raises(NoSeat):
            write_all(then=refuse)

    outer()

    assert written() == {"outer"}


def test_uncommitted_rows_make_an_open_transaction():
    assert not is_open()
    assert write_all("a", then=is_open)
    assert not is_open()


def test_broken_constraint_arrives_as_integrity_error_and_leaves_nothing():
    write("taken")

    with pytest.raises(IntegrityError):
        write_all("a", "taken")

    assert written() == {"taken"}
    write_all("b")
    assert written() == {"taken", "b"}


def test_database_error_swallowed_by_the_caller_of_a_nested_function_is_refused():
    write("taken")

    @transactional
    def outer():
        write("a")
        try:
            write_all("taken")
        except IntegrityError:
            return "as if nothing had happened"

    with pytest.raises(TransactionAbandoned):
        outer()

    assert written() == {"taken"}


def test_database_error_swallowed_in_place_is_refused():
    write("taken")

    @transactional
    def body():
        write("a")
        try:
            write("taken")
        except IntegrityError:
            return "as if nothing had happened"

    with pytest.raises(TransactionAbandoned):
        body()

    assert written() == {"taken"}


def test_hook_runs_after_the_commit():
    seen = []

    @transactional
    def body():
        on_commit(lambda: seen.append((is_open(), written())))
        write("a")
        assert seen == []

    body()

    assert seen == [(False, {"a"})]


def test_hook_of_a_nested_function_waits_for_the_outer_commit():
    seen = []

    @transactional
    def outer():
        write_all("inner", then=lambda: on_commit(lambda: seen.append(written())))
        write("outer")

    outer()

    assert seen == [{"inner", "outer"}]


def test_hook_is_dropped_with_its_transaction():
    seen = []

    @transactional
    def body():
        on_commit(lambda: seen.append("ran"))
        refuse()

    with pytest.raises(NoSeat):
        body()
    write_all("a")

    assert seen == []


def test_failing_hook_does_not_undo_what_is_committed(caplog):
    @transactional
    def body():
        on_commit(refuse)
        write("a")

    body()

    assert written() == {"a"}
    assert caplog.records


def test_what_needs_a_transaction_is_refused_without_one():
    with pytest.raises(TransactionRequired, match="@transactional"):
        require()
    with pytest.raises(TransactionRequired):
        on_commit(lambda: None)
