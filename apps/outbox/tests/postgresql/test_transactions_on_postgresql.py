from __future__ import annotations

import threading

import pytest
from django.db import DatabaseError, connection
from django.utils import timezone

from apps.outbox.models import ReceivedEvent
from apps.outbox.tests.sending import in_threads
from apps.outbox.transactions import TransactionAbandoned, is_open, transactional

pytestmark = pytest.mark.django_db(transaction=True)


def write(name):
    ReceivedEvent.objects.create(
        id=name, key="test", version=0, partition=0, offset=0, received_at=timezone.now()
    )


def test_serialization_failure_runs_the_whole_again():
    write("counter")
    attempts = []

    @transactional
    def count():
        attempts.append(1)
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        counter = ReceivedEvent.objects.get(id="counter")
        counter.version += 1
        counter.save()

    def count_often():
        for _ in range(20):
            count()

    in_threads(*[count_often] * 3)

    assert ReceivedEvent.objects.get(id="counter").version == 60
    assert len(attempts) > 60


def test_deadlock_runs_the_loser_again():
    write("a")
    write("b")
    both_hold_one = threading.Barrier(2, timeout=10)
    attempts = []

    @transactional
    def bump(first, second):
        attempts.append(1)
        ReceivedEvent.objects.filter(id=first).update(key=first)
        if len(attempts) <= 2:
            both_hold_one.wait()
        ReceivedEvent.objects.filter(id=second).update(key=first)

    in_threads(lambda: bump("a", "b"), lambda: bump("b", "a"))

    assert len(attempts) >= 3
    assert ReceivedEvent.objects.get(id="a").key == ReceivedEvent.objects.get(id="b").key


def test_error_of_a_plain_statement_swallowed_in_place_is_refused():
    @transactional
    def body():
        write("a")
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1/0")
        except DatabaseError:
            return "as if nothing had happened"

    with pytest.raises(TransactionAbandoned):
        body()

    assert not ReceivedEvent.objects.exists()


@pytest.mark.django_db(transaction=False)
def test_transaction_of_a_test_case_is_not_a_real_one():
    assert connection.in_atomic_block
    assert not is_open()
