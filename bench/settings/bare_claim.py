"""A Django with nothing in it but a database: the reference of a sale."""

from __future__ import annotations

from typing import Any

from ticketing.env import env_postgresql, env_str

SECRET_KEY = env_str("SECRET_KEY")
ALLOWED_HOSTS: tuple[str, ...] = ("127.0.0.1",)
ROOT_URLCONF = "bench.bare_claim"
# The same connections as the orders service has.
DATABASES: dict[str, dict[str, Any]] = {"default": env_postgresql("DATABASE_URL")}
# It gives answers their Content-Length, without which they would come in chunks.
MIDDLEWARE: tuple[str, ...] = ("django.middleware.common.CommonMiddleware",)
USE_TZ = True
