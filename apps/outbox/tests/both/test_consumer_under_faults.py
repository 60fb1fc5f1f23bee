"""What a crash or an outage in the middle of a message leaves behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection, connections

from apps.outbox import kafka
from apps.outbox.codec import Codec
from apps.outbox.consumer import CLIENT_OPTIONS, Consumer
from apps.outbox.lanes import Patience
from apps.outbox.models import DeadLetter
from apps.outbox.receiver import Receiver
from apps.outbox.tests.receiving import light, times_lit, wait_for

pytestmark = pytest.mark.django_db(transaction=True)

# MongoDB keeps the transaction of a killed client, and the documents that it wrote are refused to
# others, until transactionLifetimeLimitSeconds are over: 60 where it is not set.
LONGEST_TRANSACTION_SECONDS = 60

# A consumer of another process, on the test's database. `at` says when it is killed.
CRASHING_CONSUMER = """
import os, signal, sys
from django.conf import settings
topic, group, database, at = sys.argv[1:]
settings.DATABASES["default"]["NAME"] = database
import django
django.setup()

from apps.outbox import inbox, kafka
from apps.outbox.codec import Codec
from apps.outbox.consumer import CLIENT_OPTIONS, Consumer
from apps.outbox.lanes import Patience
from apps.outbox.receiver import Receiver
from apps.outbox.registry import Registry
from apps.outbox.tests.receiving import event_class, light


def die(*_args, **_options):
    os.kill(os.getpid(), signal.SIGKILL)


class DiesAtCommit:
    def __init__(self, client):
        self.client = client

    def __getattr__(self, name):
        return die if name == "commit" else getattr(self.client, name)


def handler(event):
    light(event)
    if at == "inside the transaction":
        die()
    if at == "before the dead-letter topic":
        raise ValueError("broken")


client = DiesAtCommit(kafka.consumer(group, **CLIENT_OPTIONS))
receiver = Receiver(group, {event_class(topic): handler}, Codec(Registry.from_settings()))
Consumer(group, receiver, client=client, send=die, patience=Patience(attempts=1)).run()
"""


def consume(bench, condition, handler=light, patience=None, **options):
    consumer = Consumer(
        bench.group,
        Receiver(bench.group, {bench.event_class: handler}, Codec(bench.registry)),
        client=kafka.consumer(bench.group, **CLIENT_OPTIONS),
        send=kafka.Sender(timeout=10.0).send_one,
        patience=patience or Patience(attempts=1),
        **options,
    )
    consumer.subscribe()

    def step():
        consumer.run_once()
        return condition()

    try:
        wait_for(step, seconds=LONGEST_TRANSACTION_SECONDS + 30)
    finally:
        consumer.close()


def crash(bench, at):
    """Run a consumer in a process of its own until it is killed at that point."""
    name = connection.settings_dict["NAME"]
    command = [sys.executable, "-c", CRASHING_CONSUMER, bench.topic, bench.group, name, at]
    process = subprocess.run(
        command, cwd=settings.BASE_DIR, env=os.environ, timeout=60, check=False
    )
    assert process.returncode == -signal.SIGKILL


def test_an_event_has_one_effect_though_its_reader_was_killed_before_the_offset_was_committed(
    bench,
):
    lamp = bench.send_lamp()
    last = bench.send_lamp()

    crash(bench, at="before the offset")
    consume(bench, lambda: times_lit(last) == 1)

    assert times_lit(lamp) == 1


def test_an_event_has_one_effect_though_its_reader_was_killed_inside_the_transaction(bench):
    lamp = bench.send_lamp()

    crash(bench, at="inside the transaction")
    after_the_crash = times_lit(lamp)
    consume(bench, lambda: times_lit(lamp) == 1)

    assert after_the_crash == 0


def test_a_dead_letter_is_on_its_topic_though_its_reader_was_killed_before_it_was_sent(bench):
    bench.send_lamp()
    last = bench.send_lamp()

    crash(bench, at="before the dead-letter topic")
    [letter] = DeadLetter.objects.filter(group=bench.group)

    def fail_the_first(event):
        if event.lamp_id != last:
            raise ValueError("broken")
        light(event)

    consume(bench, lambda: times_lit(last) == 1, fail_the_first)

    assert list(DeadLetter.objects.filter(group=bench.group)) == [letter]
    assert len(bench.records(bench.dlq)) == 1


class Proxy:
    """A way to the database that can be cut and mended."""

    def __init__(self, host, port):
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open = []
        self.is_cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        self.is_cut = True
        for each in self._open:
            _shut(each)
        self._open.clear()

    def close(self):
        self.cut()
        _shut(self._listener)

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.is_cut:
                _shut(client)
                continue
            server = socket.create_connection(self._target)
            self._open += [client, server]
            for ends in ((client, server), (server, client)):
                threading.Thread(target=_pump, args=ends, daemon=True).start()


def _shut(end):
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


def _pump(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    _shut(sink)


@pytest.fixture
def proxy():
    """Lead the default connection through a proxy for the length of the test."""
    known = connections[DEFAULT_DB_ALIAS]
    values = dict(known.settings_dict)
    is_mongodb = known.vendor == "mongodb"
    if is_mongodb:
        address = urlsplit(values["HOST"])
        proxy = Proxy(address.hostname, address.port)
        values["HOST"] = f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true"
        values["OPTIONS"] = {"serverSelectionTimeoutMS": 300}
    else:
        proxy = Proxy(values["HOST"], int(values["PORT"]))
        values |= {"HOST": "127.0.0.1", "PORT": proxy.port}
    # Under another alias, since MongoDB's backend has one client for each.
    through_proxy = type(known)(values, "through_proxy")
    connections[DEFAULT_DB_ALIAS] = through_proxy
    yield proxy
    connections[DEFAULT_DB_ALIAS] = known
    if is_mongodb:
        through_proxy.close_pool()
    else:
        through_proxy.close()
    proxy.close()


def test_an_outage_of_the_database_spends_no_attempt_and_loses_nothing(bench, proxy):
    first = bench.send_lamp()
    outages = []

    def light_or_lose_the_database(event):
        if not outages:
            outages.append(time.monotonic())
            proxy.cut()
        light(event)

    def mend_after_a_while():
        if outages and time.monotonic() > outages[0] + 2.0:
            proxy.is_cut = False
        # Its client needs a moment to find the database again.
        with contextlib.suppress(DatabaseError):
            return not proxy.is_cut and bool(outages) and times_lit(first) == 1

    consume(bench, mend_after_a_while, light_or_lose_the_database)
    last = bench.send_lamp()
    consume(bench, lambda: times_lit(last) == 1)

    assert times_lit(first) == 1
    assert not DeadLetter.objects.filter(group=bench.group).exists()
