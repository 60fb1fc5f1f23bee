from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig


class OutboxConfig(AppConfig):
    name = __package__
    label = "outbox"
    verbose_name = "Events"

    def ready(self) -> None:
        import_module(".checks", __package__)
