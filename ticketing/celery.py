"""The Celery application of the expiration service: worker and beat."""

from __future__ import annotations

import logging

import django
from celery import Celery
from celery.signals import setup_logging

# Each of these has something to say about every sweep, which runs each second.
NOISY = ("celery.beat", "celery.worker.strategy", "celery.app.trace")

# Celery would do this too, but from a signal whose failure it only logs: the worker then runs on
# without a single task, where a missing setting should stop it.
django.setup()

app = Celery("ticketing")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def keep_the_logging_of_django(**_: object) -> None:
    """Celery sets logging up by itself unless this signal has a receiver."""
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
