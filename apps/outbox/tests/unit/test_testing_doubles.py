from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from apps.outbox.codec import Codec
from apps.outbox.failures import Poison, Unavailable
from apps.outbox.registry import SchemaMissing
from apps.outbox.testing.doubles import Crashed, FakeClock, FakeRegistry, crashing
from apps.outbox.tests.sending import RECORD

PAYLOAD = b'{"gate_id":"north","version":1,"width_cm":90,"opened_at":0,"keeper":null}'


class Target:
    colour = "green"

    def __init__(self):
        self.calls = []

    def send(self, what):
        self.calls.append(what)
        return f"{what} sent"


def test_the_registry_gives_each_schema_an_id_by_which_it_is_found_again(gates):
    codec = Codec(FakeRegistry())

    name, fields = codec.decode(codec.encode("test.gates", RECORD, PAYLOAD))

    assert name == RECORD
    assert fields["width_cm"] == 90


def test_the_registry_can_be_away_or_lack_a_schema(gates):
    registry = FakeRegistry()
    codec = Codec(registry)
    value = codec.encode("test.gates", RECORD, PAYLOAD)

    registry.missing = {RECORD}
    with pytest.raises(SchemaMissing):
        Codec(registry).encode("test.gates", RECORD, PAYLOAD)  # the other knows its id already
    with pytest.raises(Poison, match="no schema 999"):
        codec.decode(value[:1] + (999).to_bytes(4) + value[5:])

    registry.is_away = True
    with pytest.raises(Unavailable):
        codec.decode(value)


def test_the_clock_stands_still_until_it_is_told():
    clock = FakeClock(now=5.0)
    assert clock() == clock() == 5.0

    clock.advance(0.5)
    assert clock() == 5.5


def test_a_crash_before_a_call_keeps_the_call_from_happening():
    target = Target()
    proxy = crashing(target, before="send", on_call=2)

    assert proxy.send("first") == "first sent"
    with pytest.raises(Crashed):
        proxy.send("second")
    assert target.calls == ["first"]


def test_a_crash_after_a_call_lets_it_happen_and_nobody_hear_of_it():
    target = Target()
    proxy = crashing(target, after="send")

    with pytest.raises(Crashed):
        proxy.send("first")
    assert target.calls == ["first"]


def test_everything_else_of_the_target_is_as_it_was():
    assert crashing(Target(), after="send").colour == "green"


def test_a_point_that_does_not_exist_is_refused_at_once():
    with pytest.raises(AttributeError):
        crashing(Target(), before="sent")
    with pytest.raises(TypeError, match="no method"):
        crashing(Target(), before="colour")


def test_no_ordinary_handler_of_exceptions_survives_a_crash():
    assert not issubclass(Crashed, Exception)


def test_kill_ends_the_process_itself():
    code = "from apps.outbox.testing.doubles import kill; kill(); print('alive')"

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=60, check=False
    )

    assert done.returncode == -signal.SIGKILL
    assert done.stdout == b""
