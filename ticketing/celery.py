"""The Celery application of the expiration service: worker and beat."""

from __future__ import annotations

from celery import Celery

app = Celery("ticketing")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
