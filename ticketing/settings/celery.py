"""How the expiration service runs Celery: an alarm clock whose every failure the sweep covers."""

from __future__ import annotations

from typing import Any

from ticketing.env import env_int, env_str

DAY_SECONDS = 24 * 3600

CELERY_BROKER_URL = env_str("REDIS_URL")
CELERY_TIMEZONE = "UTC"
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT: tuple[str, ...] = ("json",)
CELERY_TASK_IGNORE_RESULT = True
# A task that fails is acknowledged all the same: the sweep tries again within a second, and a
# redelivery by Redis would come a whole visibility timeout later.
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_PUBLISH_RETRY = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES: int | None = None
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = {
    # Redis hands an unacknowledged task out again after this time, so it must exceed the longest
    # reservation: EXPIRATION_WINDOW_SECONDS of orders.
    "visibility_timeout": env_int("CELERY_VISIBILITY_TIMEOUT", DAY_SECONDS),
    # Consumers set alarms, and may neither wait for Redis nor try again.
    "max_retries": 0,
    "socket_connect_timeout": 1,
    "socket_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 5,
}
SWEEP_SECONDS = 1.0
CELERY_BEAT_SCHEDULE: dict[str, dict[str, Any]] = {
    "sweep-deadlines": {
        "task": "expiration.sweep_deadlines",
        "schedule": SWEEP_SECONDS,
        # With the worker down no heap of sweeps may gather: one of them does the work of all.
        "options": {"expires": 5},
    },
}
# In memory: the schedule is one interval, and a file could only be damaged by a kill.
CELERY_BEAT_SCHEDULER = "ticketing.celery:SelfReliantScheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = SWEEP_SECONDS
