from __future__ import annotations

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "apps.auth"
    label = "accounts"  # "auth" is taken by Django's own: docs/adr/0002
    verbose_name = "accounts"
