"""A Django project that only reserves tickets: the other reference of a sale."""

from __future__ import annotations

from bench.settings.bare_claim import *  # noqa: F403
from ticketing.env import env_secret

ROOT_URLCONF = "bench.plain_claim"
INSTALLED_APPS: tuple[str, ...] = (
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "bench.apps.BenchConfig",
)
# As `startproject` has it.
MIDDLEWARE: tuple[str, ...] = (
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
)
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
JWT_KEY = env_secret("JWT_KEY")
