"""A PostgreSQL of a test's own, with settings that would harm its neighbours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core.management import call_command
from django.db import OperationalError, connection

from apps.outbox.tests.sending import wait_for

SECONDS = 120


@contextmanager
def own_postgres(**environment):
    """Serve the default database from a server of its own.

    Args:
        environment: what makes it different from the one that runs.
    """
    before = dict(connection.settings_dict)
    directory = Path(tempfile.mkdtemp(prefix="own-postgres-"))
    with (directory / "output.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.local", "servers", "postgres"],
            cwd=settings.BASE_DIR,
            env=_without_ports()
            | {"TICKETING_DIR": str(directory), "TICKETING_FOR_TESTS": "1", **environment},
            stdout=log,
            stderr=log,
        )
    try:
        address = urlsplit(wait_for(lambda: _database_url(directory), SECONDS))
        connection.close()
        connection.settings_dict.update(
            PORT=address.port, PASSWORD=unquote(address.password), NAME=address.path.strip("/")
        )
        wait_for(_answers, SECONDS)
        call_command("migrate", verbosity=0)
        yield
    finally:
        connection.close()
        connection.settings_dict.update(before)
        process.terminate()
        process.wait(SECONDS)
        shutil.rmtree(directory, ignore_errors=True)


def _without_ports():
    """Return the environment without the ports of the stack that runs: those are taken."""
    return {
        name: value
        for name, value in os.environ.items()
        if name != "PORT" and not name.endswith("_PORT")
    }


def _database_url(directory):
    with suppress(FileNotFoundError):
        for line in (directory / "run" / "orders.env").read_text("utf-8").splitlines():
            name, _, value = line.removeprefix("export ").partition("=")
            if name == "DATABASE_URL":
                return value.strip("'\"")
    return ""


def _answers():
    with suppress(OperationalError):
        connection.ensure_connection()
        return True
    return False
