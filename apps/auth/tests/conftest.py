from __future__ import annotations

import pytest


@pytest.fixture
def real_hashers(settings, quick_passwords):
    """Return what runs in production, which takes a quarter of a second for each password."""
    return settings.PRODUCTION_PASSWORD_HASHERS


@pytest.fixture(autouse=True)
def quick_passwords(settings):
    settings.PRODUCTION_PASSWORD_HASHERS = settings.PASSWORD_HASHERS
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
