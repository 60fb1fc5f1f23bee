from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from apps.outbox import metrics, monitoring
from apps.outbox.failures import Unavailable
from apps.outbox.monitoring import Pulse, split_address, store_gauges


def test_a_pulse_counts_from_the_last_round(settings):
    settings.LIVENESS_SECONDS = 60
    now = 0.0
    pulse = Pulse(lambda: now)

    now = 50.0
    pulse()
    now = 110.0

    assert pulse.age == 60.0
    assert pulse.is_alive
    now = 110.1
    assert not pulse.is_alive


def test_a_loop_that_goes_round_touches_its_file_now_and_then(settings, tmp_path):
    settings.LIVENESS_FILE = str(path := tmp_path / "alive")
    now = 0.0
    pulse = Pulse(lambda: now)
    pulse()
    path.unlink()

    pulse()

    assert not path.exists()
    now = 2.0
    pulse()
    assert path.exists()


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("127.0.0.1:9101", ("127.0.0.1", 9101)),
        ("[::]:9101", ("::", 9101)),
        (":9101", ("", 9101)),
    ],
)
def test_an_address_has_a_host_and_a_port(address, parts):
    assert split_address(address) == parts


def test_the_store_is_measured_once_for_scrapes_that_follow_one_another():
    now, measured = 0.0, []
    refresh = store_gauges(lambda: measured.append(now), clock=lambda: now)

    refresh()
    now = 4.9
    refresh()
    now = 5.1
    refresh()

    assert measured == [0.0, 5.1]


def test_a_store_that_is_away_leaves_no_old_number_behind():
    metrics.pending.set(7)
    metrics.dlq_depth.labels("relay").set(1)

    def measure():
        raise Unavailable("no primary")

    store_gauges(measure)()

    pending = REGISTRY.get_sample_value("outbox_pending")
    assert pending != pending  # noqa: PLR0124 (it is no number)
    assert REGISTRY.get_sample_value("outbox_dlq_depth", {"stage": "relay"}) is None


def test_a_mistake_in_measuring_is_not_hidden():
    def measure():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store_gauges(measure)()


def test_a_process_without_a_loop_has_no_pulse_to_note_anything(monkeypatch):
    monkeypatch.setattr(monitoring, "_pulse", None)

    monitoring.well()
    monitoring.unwell("for no one")

    assert monitoring.current() is None
