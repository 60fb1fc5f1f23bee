from __future__ import annotations

import os
import signal

import pytest
from django.test import override_settings

from apps.outbox.worker import liveness, run_until_signalled


@pytest.fixture
def signals_as_before():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_worker_finish(number, signals_as_before):
    class Worker:
        is_stopped = False

        def run(self):
            os.kill(os.getpid(), number)

        def stop(self):
            self.is_stopped = True

    worker = Worker()

    run_until_signalled(worker)

    assert worker.is_stopped


def test_a_loop_that_goes_round_touches_its_file(tmp_path):
    path = tmp_path / "alive"

    with override_settings(LIVENESS_FILE=str(path)):
        alive = liveness()
        alive()
        path.unlink()
        alive()

    assert not path.exists()


def test_without_a_file_nothing_is_touched():
    with override_settings(LIVENESS_FILE=""):
        assert liveness()() is None
