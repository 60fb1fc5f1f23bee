"""PostgreSQL for these tests: in a container where a Docker engine answers, else the stack's."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from django.db import connections
from testcontainers.community.postgres import PostgresContainer

IMAGE = "TICKETING_POSTGRES_IMAGE"
DEFAULT_IMAGE = "postgres:16"
# As deploy/local/servers.py has it for tests.
SETTINGS = "-c max_connections=200 -c fsync=off -c synchronous_commit=off -c full_page_writes=off"


def wanted_image() -> str:
    """Return the image to start, or nothing where no engine answers; one that is named must."""
    if image := os.environ.get(IMAGE):
        return image
    if shutil.which("docker") is None:
        return ""
    asked = subprocess.run(("docker", "version"), capture_output=True, timeout=20, check=False)
    return DEFAULT_IMAGE if asked.returncode == 0 else ""


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix) -> Iterator[None]:
    """Send Django to the container's server, before its test database is made."""
    if not (image := wanted_image()):
        yield
        return
    container = PostgresContainer(
        image, username="ticketing", password="not-a-secret", dbname="ticketing_orders"
    ).with_command(SETTINGS)
    with container as postgres:
        connections["default"].settings_dict |= {
            "HOST": postgres.get_container_host_ip(),
            "PORT": postgres.get_exposed_port(5432),
            "USER": postgres.username,
            "PASSWORD": postgres.password,
        }
        yield
