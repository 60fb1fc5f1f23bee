"""The app configurations that every service installs."""

from __future__ import annotations

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class CoreConfig(AppConfig):
    name = "apps.core"
    label = "core"
    default = True


class BrandedAdminConfig(admin_apps.AdminConfig):
    """Django's admin behind the system's one staff sign-on."""

    default = False
    default_site = "apps.core.site.StaffSite"
