from __future__ import annotations

from kombu.exceptions import OperationalError

from apps.expiration.gateway import FIRE_DEADLINE, MARGIN, AlarmClock
from apps.expiration.tests.factories import NOON


class FakeCelery:
    """Takes tasks, or refuses them as Celery does when its broker is away."""

    def __init__(self, *, is_down: bool = False) -> None:
        self.is_down = is_down
        self.calls = 0
        self.tasks: list[tuple[str, dict]] = []

    def send_task(self, name, **options):
        self.calls += 1
        if self.is_down:
            raise OperationalError("Error 111 connecting to 127.0.0.1:6379. Connection refused.")
        self.tasks.append((name, options))


def test_alarm_rings_just_after_the_deadline():
    celery = FakeCelery()

    was_taken = AlarmClock(celery).set(order_id="o-1", expires_at=NOON)

    assert was_taken
    assert celery.tasks == [
        (FIRE_DEADLINE, {"kwargs": {"order_id": "o-1"}, "eta": NOON + MARGIN, "retry": False})
    ]


def test_alarm_that_redis_does_not_take_harms_nobody():
    assert AlarmClock(FakeCelery(is_down=True)).set(order_id="o-1", expires_at=NOON) is False


def test_after_a_failure_redis_is_left_alone_for_a_while():
    celery = FakeCelery(is_down=True)
    clock = AlarmClock(celery, pause_seconds=60)

    clock.set(order_id="o-1", expires_at=NOON)
    clock.set(order_id="o-2", expires_at=NOON)

    assert celery.calls == 1


def test_after_the_pause_alarms_are_set_again():
    celery = FakeCelery(is_down=True)
    clock = AlarmClock(celery, pause_seconds=0)
    clock.set(order_id="o-1", expires_at=NOON)

    celery.is_down = False

    assert clock.set(order_id="o-2", expires_at=NOON)
