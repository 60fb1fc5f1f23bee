from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from apps.outbox.failures import Unavailable
from apps.outbox.relay import FIRST_DELAY_SECONDS, LONGEST_OUTAGE_DELAY_SECONDS, Relay
from apps.outbox.stores import Lease, LeaseLost
from apps.outbox.worker import spread


class FakeStore:
    """Answers each look for rows in turn, and tells the relay to stop when nothing is left."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.epoch = 0
        self.relay = None
        self.calls = []

    def acquire(self, owner, _seconds):
        self.epoch += 1
        return Lease(owner=owner, epoch=self.epoch)

    def renew(self, _lease, _seconds):
        self.calls.append("renew")

    def release(self, lease):
        self.calls.append(f"release {lease.epoch}")

    def pending(self, _page, _limit):
        if not self.answers:
            self.relay.stop()
            return []
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def settle(self, *_):
        raise AssertionError("nothing was sent")

    def arm(self):
        self.calls.append("arm")

    def wait(self, *_):
        self.calls.append("wait")

    def close(self):
        self.calls.append("close")


class FakeSender:
    def close(self):
        pass


class FakeCodec(FakeSender):
    pass


def run(store, **options):
    store.relay = Relay(store, FakeCodec(), FakeSender(), owner="test", **options)
    store.relay.run()
    return store


def test_relay_watches_before_it_looks_and_waits_when_there_is_nothing():
    store = run(FakeStore([]))

    assert store.calls[:2] == ["arm", "wait"]


def test_outage_is_waited_out_and_stops_nobody():
    away = KafkaException(KafkaError(KafkaError._TIMED_OUT))

    store = run(FakeStore(away, Unavailable("registry"), []))

    assert store.answers == []


def test_whatever_waiting_does_not_mend_stops_the_relay_loudly():
    store = FakeStore(ZeroDivisionError())

    with pytest.raises(ZeroDivisionError):
        run(store)

    assert store.calls[-1] == "release 1"


def test_lost_lease_is_asked_for_again_under_a_new_epoch():
    class Losing(FakeStore):
        def renew(self, lease, _seconds):
            if lease.epoch == 1:
                raise LeaseLost("taken")

    times = iter(range(0, 1000, 2))

    store = run(Losing([], [], []), clock=lambda: next(times))

    assert store.epoch == 2


def test_ending_relay_frees_its_lease():
    assert run(FakeStore([])).calls[-1] == "release 1"


def test_delays_double_up_to_a_limit_and_never_overflow():
    assert 0.2 <= spread(FIRST_DELAY_SECONDS, 1, 5.0) <= 0.4
    longest = LONGEST_OUTAGE_DELAY_SECONDS
    assert 2.5 <= spread(FIRST_DELAY_SECONDS, 10**9, longest) <= longest
