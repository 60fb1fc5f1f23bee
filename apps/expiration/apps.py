from __future__ import annotations

from django.apps import AppConfig


class ExpirationConfig(AppConfig):
    name = "apps.expiration"
    label = "expiration"
    verbose_name = "Expiration"
