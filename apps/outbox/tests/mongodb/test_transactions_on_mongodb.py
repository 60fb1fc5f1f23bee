from __future__ import annotations

import fcntl
import uuid
from contextlib import contextmanager

import pytest
from django.db import DatabaseError, connection
from django.db.transaction import TransactionManagementError
from django.db.transaction import atomic as djangos_atomic  # noqa: TID251 - what must be refused
from django.utils import timezone

from apps.outbox.models import ReceivedEvent
from apps.outbox.tests.sending import in_threads
from apps.outbox.transactions import run_in_transaction, transactional

pytestmark = pytest.mark.django_db(transaction=True)


class NoSeat(Exception):
    """Any refusal by the code inside of a transaction."""


TRANSIENT = ["TransientTransactionError"]


@pytest.fixture
def failing(tmp_path_factory, worker_id):
    """Make the server fail commands of this process alone, which it knows by a name of its own."""
    # It has one such failpoint: two tests at once, on pytest-xdist, would undo each other's.
    shared = tmp_path_factory.getbasetemp()
    shared = shared if worker_id == "master" else shared.parent
    with (shared / "failpoint").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield from failpoints()


def failpoints():
    name = uuid.uuid4().hex
    options = connection.settings_dict["OPTIONS"]
    before = dict(options)
    connection.close_pool()
    options["appName"] = name
    connection.ensure_connection()
    admin = connection.connection.admin

    @contextmanager
    def failpoint(times, **how):
        data = {"appName": name} | how
        admin.command("configureFailPoint", "failCommand", mode={"times": times}, data=data)
        try:
            yield
        finally:
            admin.command("configureFailPoint", "failCommand", mode="off")

    yield failpoint
    connection.close_pool()
    options.clear()
    options.update(before)
    connection.ensure_connection()


def write(name):
    ReceivedEvent.objects.create(
        id=name, key="test", version=0, partition=0, offset=0, received_at=timezone.now()
    )


@transactional
def write_pair(calls=None):
    if calls is not None:
        calls.append(1)
    write("a")
    write("b")


def written():
    return set(ReceivedEvent.objects.values_list("id", flat=True))


def assert_thread_is_clean():
    """The next transaction on the thread is a real one."""

    @transactional
    def body():
        write("next")
        raise NoSeat

    assert connection.session is None
    with pytest.raises(NoSeat):
        body()
    assert "next" not in written()


def test_contended_counter_loses_no_update():
    write("counter")

    @transactional
    def count():
        counter = ReceivedEvent.objects.get(id="counter")
        counter.version += 1
        counter.save()

    def count_often():
        for _ in range(25):
            count()

    in_threads(*[count_often] * 4)

    assert ReceivedEvent.objects.get(id="counter").version == 100


def test_conflict_runs_the_whole_again(failing):
    calls = []

    with failing(2, failCommands=["insert"], errorCode=112, errorLabels=TRANSIENT):
        write_pair(calls)

    assert len(calls) == 3
    assert written() == {"a", "b"}


def test_lost_connection_within_runs_the_whole_again(failing):
    with failing(1, failCommands=["insert"], closeConnection=True):
        write_pair()

    assert written() == {"a", "b"}


def test_unknown_outcome_repeats_the_commit_alone(failing):
    calls = []

    with failing(2, failCommands=["commitTransaction"], closeConnection=True):
        write_pair(calls)

    assert len(calls) == 1
    assert written() == {"a", "b"}


def test_commit_that_lost_its_transaction_runs_the_whole_again(failing):
    calls = []

    with failing(
        1,
        failCommands=["commitTransaction"],
        errorCode=251,
        errorLabels=TRANSIENT,
    ):
        write_pair(calls)

    assert len(calls) == 2
    assert written() == {"a", "b"}


def test_failed_commit_is_raised_and_leaves_the_thread_clean(failing):
    with (
        failing(1, failCommands=["commitTransaction"], errorCode=72),
        pytest.raises(DatabaseError),
    ):
        write_pair()

    assert written() == set()
    assert_thread_is_clean()


def test_conflict_without_end_gives_up_and_leaves_the_thread_clean(failing):
    with (
        failing(
            1000,
            failCommands=["insert"],
            errorCode=112,
            errorLabels=TRANSIENT,
        ),
        pytest.raises(DatabaseError),
    ):
        write_pair()

    assert written() == set()
    assert_thread_is_clean()


def test_causes_of_a_database_error_form_no_circle(failing):
    with (
        failing(1, failCommands=["commitTransaction"], errorCode=72),
        pytest.raises(DatabaseError) as caught,
    ):
        write_pair()

    seen = []
    cause = caught.value
    while cause is not None:
        assert cause not in seen
        seen.append(cause)
        cause = cause.__cause__
    # The server keeps the documents of a transaction whose commit it refused until the session's
    # next one begins.
    assert_thread_is_clean()


def test_transaction_inside_of_djangos_atomic_is_refused():
    with djangos_atomic(), pytest.raises(TransactionManagementError, match="atomic"):
        run_in_transaction(lambda: write("a"))

    assert written() == set()


def test_driver_shares_the_transaction_through_its_session():
    @transactional
    def body():
        connection.get_collection("outbox_received_event").update_one(
            {"_id": "a"}, {"$set": {"key": "driver"}}, session=connection.session
        )
        raise NoSeat

    write("a")

    with pytest.raises(NoSeat):
        body()

    assert ReceivedEvent.objects.get(id="a").key == "test"
