from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from apps.outbox.failures import Unavailable
from apps.outbox.relay import FIRST_DELAY_SECONDS, LONGEST_OUTAGE_DELAY_SECONDS, Relay
from apps.outbox.stores import Holding, LeaseLost, Member
from apps.outbox.worker import spread


class FakeStore:
    """Answers each look for rows in turn, and tells the relay to stop when nothing is left."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.relay = None
        self.calls = []
        self.owners = []

    def join(self, owner, _seconds):
        self.owners.append(owner)

    def renew(self, _owner, _seconds):
        self.calls.append("renew")

    def members(self):
        return [Member(self.owners[-1], is_over=False)]

    def share_out(self, _owner, _seconds, wanted):
        return Holding(slots=tuple(wanted))

    def leave(self, owner):
        self.calls.append(f"leave {self.owners.index(owner)}")

    def has_captured(self):
        return False

    def backlog(self, _slots):
        return {}

    def pending(self, _page, _last_slot, _limit):
        if not self.answers:
            self.relay.stop()
            return []
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def settle(self, *_):
        raise AssertionError("nothing was sent")

    def arm(self, _shares):
        self.calls.append("arm")

    def wait(self, *_):
        self.calls.append("wait")
        return True

    def close(self):
        self.calls.append("close")


class FakeSender:
    def adopt(self, owner):
        pass

    def fence(self, owner):
        pass

    def abandon(self):
        pass

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

    assert store.calls[-1] == "leave 0"


def test_relay_that_others_count_as_dead_joins_anew_under_a_new_name():
    class Losing(FakeStore):
        def renew(self, _owner, _seconds):
            if len(self.owners) == 1:
                raise LeaseLost("taken")

    times = iter(range(0, 1000, 2))

    store = run(Losing([], [], []), clock=lambda: next(times))

    assert len(set(store.owners)) == 2


def test_ending_relay_leaves():
    assert run(FakeStore([])).calls[-1] == "leave 0"


def test_delays_double_up_to_a_limit_and_never_overflow():
    assert 0.2 <= spread(FIRST_DELAY_SECONDS, 1, 5.0) <= 0.4
    longest = LONGEST_OUTAGE_DELAY_SECONDS
    assert 2.5 <= spread(FIRST_DELAY_SECONDS, 10**9, longest) <= longest
