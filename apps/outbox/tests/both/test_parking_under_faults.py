"""A blocked key whose consumer is killed, or whose partition moves to another one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import uuid

import pytest
from django.conf import settings
from django.db import close_old_connections, connection
from django.utils import timezone

from apps.outbox.lanes import Patience
from apps.outbox.models import DeadLetter, OutboxEvent, ParkedRecord
from apps.outbox.tests.receiving import Bench, Crowd, light, read_until, times_lit, wait_for

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE = Patience(attempts=1, delays=(1,) * 30)
VERSIONS = 6

# A consumer of another process, on the test's database, that is killed at its `nth` step of a kind.
DYING_CONSUMER = """
import os, signal, sys
from django.conf import settings
topic, group, database, lamp, at, nth = sys.argv[1:]
settings.DATABASES["default"]["NAME"] = database
import django
django.setup()

from apps.outbox import kafka, parking
from apps.outbox.codec import Codec
from apps.outbox.consumer import CLIENT_OPTIONS, Consumer
from apps.outbox.lanes import Patience
from apps.outbox.receiver import Receiver
from apps.outbox.registry import Registry
from apps.outbox.tests.receiving import event_class, light

steps = 0


def die_at(step):
    global steps
    steps += step == at
    if step == at and steps == int(nth):
        os.kill(os.getpid(), signal.SIGKILL)


def handler(event):
    if event.lamp_id == lamp and at != "release":
        raise ValueError("broken")
    light(event)
    if event.lamp_id == lamp:
        die_at("release")


class Dying(parking.Parking):
    def park(self, *args):
        die_at("before the head is parked")
        super().park(*args)
        die_at("after the head is parked")

    def park_behind(self, records):
        super().park_behind(records)
        die_at("after others are parked behind it")


client = kafka.consumer(group, **CLIENT_OPTIONS)
receiver = Receiver(group, {event_class(topic): handler}, Codec(Registry.from_settings()))
patience = Patience(attempts=1, delays=(1,) * 30)
consumer = Consumer(group, receiver, client=client, send=None, patience=patience)
consumer._parking.__class__ = Dying
consumer.run()
"""


def crash(bench, lamp, at, nth=1):
    name = connection.settings_dict["NAME"]
    command = [sys.executable, "-c", DYING_CONSUMER, bench.topic, bench.group, name, lamp, at]
    process = subprocess.run(
        [*command, str(nth)], cwd=settings.BASE_DIR, env=os.environ, timeout=90, check=False
    )
    assert process.returncode == -signal.SIGKILL


class Remembering:
    """A handler that notes which versions of which lamp took effect, in their order."""

    def __init__(self):
        self.is_broken = False
        self.lit = []

    def __call__(self, event):
        if self.is_broken:
            raise ValueError("broken")
        light(event)
        self.lit.append((event.lamp_id, event.version))

    def versions(self, lamp):
        return [version for lamp_id, version in self.lit if lamp_id == lamp]


@pytest.fixture
def crowd(bench):
    crowd = Crowd(bench)
    yield crowd
    crowd.close()


@pytest.mark.parametrize(
    "at",
    [
        "before the head is parked",
        "after the head is parked",
        "after others are parked behind it",
    ],
)
def test_a_consumer_killed_while_it_parks_loses_nothing_and_keeps_the_order(bench, crowd, at):
    lamp = uuid.uuid4().hex
    for version in range(1, VERSIONS + 1):
        bench.send_version(lamp, version)
    other = bench.send_lamp()

    crash(bench, lamp, at)
    handler = Remembering()
    survivor = crowd.add(handler, PATIENCE)
    read_until(survivor, lambda: times_lit(lamp) == VERSIONS and times_lit(other) == 1)
    read_until(survivor, lambda: not ParkedRecord.objects.filter(group=bench.group).exists())

    assert handler.versions(lamp) == list(range(1, VERSIONS + 1))
    assert not DeadLetter.objects.filter(group=bench.group).exists()


def test_a_consumer_killed_while_it_releases_a_key_leaves_each_event_with_one_effect(bench, crowd):
    lamp = uuid.uuid4().hex
    for version in range(1, VERSIONS + 1):
        bench.send_version(lamp, version)
    broken = Remembering()
    broken.is_broken = True
    first = crowd.add(broken, PATIENCE)
    parked = ParkedRecord.objects.filter(group=bench.group)
    read_until(first, lambda: parked.count() == VERSIONS)
    crowd.remove(first)

    crash(bench, lamp, "release", nth=3)
    lit_before = times_lit(lamp)
    survivor = crowd.add(Remembering(), PATIENCE)
    wait_seconds_of_mongodb = 90  # a killed client's transaction lives on for up to a minute there
    wait_for(lambda: survivor.run_once() or not parked.exists(), wait_seconds_of_mongodb)
    read_until(survivor, lambda: not parked.exists() and times_lit(lamp) == VERSIONS)

    assert lit_before < VERSIONS


@pytest.fixture
def wide():
    """Topics of four partitions."""
    bench = Bench(partitions=4)
    yield bench
    bench.close()


def test_a_blocked_key_moves_with_its_partition_and_keeps_its_order(wide):
    crowd = Crowd(wide)
    lamps = [uuid.uuid4().hex for _ in range(4)]
    handler = Remembering()
    handler.is_broken = True
    first = crowd.add(handler, PATIENCE)
    send(wide, lamps, [1, 2])
    parked = ParkedRecord.objects.filter(group=wide.group)
    read_until(first, lambda: parked.count() == 8)
    second = crowd.add(handler, PATIENCE)
    stop = threading.Event()

    def run_second():
        while not stop.is_set():
            second.run_once()
        second.close()
        close_old_connections()
        connection.close()

    thread = threading.Thread(target=run_second)
    thread.start()
    send(wide, lamps, [3, 4])
    read_until(first, lambda: parked.count() == 16 and len(first._lanes) < 8)
    handler.is_broken = False
    ParkedRecord.objects.filter(group=wide.group).update(due_at=timezone.now())
    send(wide, lamps, [5])
    read_until(first, lambda: all(times_lit(lamp) == 5 for lamp in lamps))
    stop.set()
    thread.join()
    crowd.made.remove(second)
    crowd.close()

    assert {tuple(handler.versions(lamp)) for lamp in lamps} == {(1, 2, 3, 4, 5)}
    assert OutboxEvent.objects.filter(aggregate_type="lit").count() == 20
    assert not DeadLetter.objects.filter(group=wide.group).exists()


def send(bench, lamps, versions):
    for version in versions:
        for partition, lamp in enumerate(lamps):
            bench.send_version(lamp, version, partition=partition)
