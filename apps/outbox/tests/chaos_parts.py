"""What the processes do that chaos is done to, beside the relays.

A writer notes each attempt at a transaction before its commit, and the outcome afterwards, in a
file. What has no outcome was under way when the writer was killed.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import sys
import threading
import types
import uuid
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.db.models import F
from django.utils import timezone

from apps.outbox.failures import Poison
from apps.outbox.models import OutboxEvent
from apps.outbox.publish import publish
from apps.outbox.testing.reading import note
from apps.outbox.tests.sending import event_class
from apps.outbox.transactions import run_in_transaction
from apps.outbox.worker import run_until_signalled

POISON_WIDTH = 13
LONGEST_PAUSE_SECONDS = 0.02


def counter_id(kind, key):
    """Return the key of the row that counts something of a gate, for want of a model for it."""
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{kind}/{key}")


class RolledBack(Exception):
    pass


class Writer:
    def __init__(self, options):
        self.random = random.Random(options["seed"])
        self.keys = options["keys"]
        self.event_class = event_class(options["topic"])
        self.log = os.open(options["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.stopping = threading.Event()

    def run(self):
        while not self.stopping.wait(self.random.uniform(0, LONGEST_PAUSE_SECONDS)):
            self.transact()

    def stop(self):
        self.stopping.set()

    def transact(self):
        name = uuid.uuid4().hex
        keys = sorted(self.random.choices(self.keys, k=self.random.randint(1, 3)))
        end = self.random.choices(
            ["commit", "roll back", "die", "spoil", "poison"], [80, 10, 2, 4, 4]
        )[0]
        try:
            run_in_transaction(lambda: self.publish(name, keys, end))
        except RolledBack:
            self.note(name, outcome="aborted")
        except DatabaseError:
            self.note(name, outcome="unknown")
        else:
            self.note(name, outcome="committed")

    def publish(self, name, keys, end):
        events = []
        for key in keys:
            width = POISON_WIDTH if end == "poison" else self.random.randint(50, 200)
            event = self.event_class(gate_id=key, version=next_version(key), width_cm=width)
            events.append(note(event, publish(event)))
        if end == "spoil":
            spoilt = OutboxEvent.objects.filter(pk__in=[event.id for event in events])
            spoilt.update(payload=b"spoilt")
            events = [dataclasses.replace(event, payload="") for event in events]
        self.note(name, events=[dataclasses.asdict(event) for event in events])
        if end == "roll back":
            raise RolledBack
        if end == "die":
            after = self.random.uniform(0, 0.005)
            threading.Timer(after, os.kill, [os.getpid(), signal.SIGKILL]).start()

    def note(self, name, **facts):
        os.write(self.log, json.dumps({"transaction": name, **facts}).encode() + b"\n")


def next_version(key):
    counter = OutboxEvent.objects.filter(pk=counter_id("versions", key))
    assert counter.update(version=F("version") + 1) == 1
    return counter.values_list("version", flat=True).get()


def count_effect(event):
    """Count the event, and note when a key goes back: the effect that must happen once."""

    if event.width_cm == POISON_WIDTH:
        raise Poison("chaos", "Nobody can handle this event.")
    counter = OutboxEvent.objects.filter(pk=counter_id("effects", event.gate_id))
    applied, regressions = counter.values_list("version", "last_error").get()
    if event.version <= applied:
        regressions += f"v{event.version} after v{applied}. "
    counter.update(attempts=F("attempts") + 1, version=event.version, last_error=regressions)


def let_the_time_jump():
    """Have the time of day jump by an hour at SIGUSR1, there and back by turns."""
    known, ahead = timezone.now, timedelta()

    def jump(*_):
        nonlocal ahead
        ahead = timedelta() if ahead else timedelta(hours=1)

    timezone.now = lambda: known() + ahead
    signal.signal(signal.SIGUSR1, jump)


def consume(options):
    handlers = {event_class(options["topic"]): count_effect}
    sys.modules["chaos_handlers"] = types.SimpleNamespace(HANDLERS=handlers)
    settings.EVENT_HANDLERS = "chaos_handlers.HANDLERS"
    settings.CONSUMER_GROUP = options["group"]
    settings.CONSUMER_DLQ_LIMIT = 1_000_000
    settings.CONSUMER_BATCH = options.get("batch", settings.CONSUMER_BATCH)
    call_command("consume_events")


def play(role, options):
    connection.settings_dict["NAME"] = options["database"]
    settings.AVRO_DIR = Path(options["avro_dir"])
    settings.OUTBOX_TRANSPORT = "relay"
    if role == "writer":
        let_the_time_jump()
        run_until_signalled(Writer(options))
    else:
        consume(options)
