"""Real Redis, and a real worker and beat in processes of their own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from datetime import timedelta
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis
from celery import Celery
from django.conf import settings
from django.db import connection
from django.utils import timezone

from apps.expiration import services
from apps.expiration.gateway import AlarmClock
from apps.expiration.models import Deadline
from apps.expiration.tests.factories import NOON, make_order_id
from apps.outbox.models import OutboxEvent

pytestmark = pytest.mark.django_db(transaction=True)

REDIS_DATABASE = "/9"
PATIENCE_SECONDS = 30
POLL_SECONDS = 0.05


def wait_until(condition, *, seconds=PATIENCE_SECONDS):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(POLL_SECONDS)


def has_settled(order_id):
    return Deadline.objects.filter(pk=order_id, settled_at__isnull=False).exists()


def lateness(order_id):
    deadline = Deadline.objects.get(pk=order_id)
    return (deadline.settled_at - deadline.expires_at).total_seconds()


@pytest.fixture
def broker_url():
    """A database of Redis that this test may wipe."""
    url = urlunsplit(urlsplit(settings.CELERY_BROKER_URL)._replace(path=REDIS_DATABASE))
    with contextlib.closing(redis.Redis.from_url(url)) as client:
        client.flushdb()
        yield url
        client.flushdb()


@pytest.fixture
def alarm_clock(broker_url, monkeypatch):
    """The services' alarm clock, set to the broker of this test."""
    with contextlib.closing(make_celery(broker_url)) as celery:
        clock = AlarmClock(celery)
        monkeypatch.setattr(services, "alarm_clock", clock)
        yield clock


def make_celery(url):
    celery = Celery("expiration.test", set_as_current=False, fixups=[])
    celery.config_from_object("django.conf:settings", namespace="CELERY")
    celery.conf.broker_url = url
    return celery


@pytest.fixture
def run_celery(broker_url, tmp_path):
    """Start `celery …` as the stack does, on the test's databases; ends with the test."""
    with contextlib.ExitStack() as stack:

        def run(*arguments, broker=broker_url):
            log = stack.enter_context((tmp_path / f"{arguments[0]}.log").open("w"))
            process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "ticketing.celery", *arguments],
                cwd=settings.BASE_DIR,
                env={
                    **os.environ,
                    "DJANGO_SETTINGS_MODULE": "ticketing.settings.expiration",
                    "MONGODB_DATABASE": connection.settings_dict["NAME"],
                    "REDIS_URL": broker,
                },
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            stack.callback(process.wait, timeout=PATIENCE_SECONDS)
            stack.callback(process.terminate)
            return process

        yield run


def test_worker_fires_a_deadline_when_its_alarm_rings(alarm_clock, run_celery):
    run_celery("worker", "--pool=threads", "--concurrency=4")
    order_id = make_order_id()

    services.set_deadline(order_id=order_id, expires_at=timezone.now() + timedelta(seconds=6))
    wait_until(lambda: has_settled(order_id))

    assert lateness(order_id) >= 0


def test_reservation_expires_although_redis_forgot_its_alarm(alarm_clock, broker_url, run_celery):
    """Defect 17: the deadline lived in Redis alone, so a restart of Redis froze the ticket."""
    run_celery("worker", "--pool=threads", "--concurrency=4")
    run_celery("beat")
    first = make_order_id()
    services.set_deadline(order_id=first, expires_at=NOON - timedelta(days=365))
    wait_until(lambda: has_settled(first))
    order_id = make_order_id()
    services.set_deadline(order_id=order_id, expires_at=timezone.now() + timedelta(seconds=2))

    with contextlib.closing(redis.Redis.from_url(broker_url)) as client:
        client.flushdb()
    wait_until(lambda: has_settled(order_id))

    assert lateness(order_id) >= 0
    assert OutboxEvent.objects.filter(aggregate_id=order_id).count() == 1


def test_reservation_expires_while_redis_is_down(alarm_clock, run_celery):
    order_id = make_order_id()
    services.set_deadline(order_id=order_id, expires_at=NOON - timedelta(days=365))

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        run_celery("beat", broker=redis_at(closed))
        wait_until(lambda: has_settled(order_id))

    assert OutboxEvent.objects.filter(aggregate_id=order_id).count() == 1


def test_order_whose_alarm_redis_refuses_keeps_its_deadline(monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with contextlib.closing(make_celery(redis_at(closed))) as celery:
            monkeypatch.setattr(services, "alarm_clock", AlarmClock(celery))
            order_id = make_order_id()
            started = time.monotonic()

            services.set_deadline(order_id=order_id, expires_at=NOON)

            assert time.monotonic() - started < 10
            assert Deadline.objects.get(pk=order_id).is_armed


def test_redis_that_answers_nothing_holds_the_consumer_up_briefly():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with contextlib.closing(make_celery(redis_at(silent))) as celery:
            started = time.monotonic()

            was_taken = AlarmClock(celery).set(order_id=make_order_id(), expires_at=NOON)

            assert not was_taken
            assert time.monotonic() - started < 15


def redis_at(bound_socket):
    return f"redis://127.0.0.1:{bound_socket.getsockname()[1]}/0"
