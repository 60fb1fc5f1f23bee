"""What docs/testing-with-the-outbox.md shows is run, in a project that has the outbox alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

DOCUMENT = Path(settings.BASE_DIR) / "docs" / "testing-with-the-outbox.md"
SETTINGS = """
from pathlib import Path

BASE_DIR = Path(__file__).parent
SECRET_KEY = "none"
USE_TZ = True
INSTALLED_APPS = ["apps.outbox"]
DATABASES = {{"default": {database!r}}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SERVICE_NAME = "shop"
OUTBOX_SOURCE = "/shop"
OUTBOX_TRANSPORT = "relay"
OUTBOX_TOPICS = ()
AVRO_DIR = BASE_DIR / "avro"
EVENT_HANDLERS = "shop.HANDLERS"
CONSUMER_GROUP = "shop"
"""


def files():
    """Return the document's files: each is named at the end of the line that leads to it."""
    blocks = re.findall(
        r"`([\w./]+)`:?\n\n```(?:python|json)\n(.*?)^```$",
        DOCUMENT.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    return dict(blocks)


def database():
    """Return the test's own server, with another database for the project to make."""
    ours = connection.settings_dict
    names = ("ENGINE", "HOST", "PORT", "USER", "PASSWORD", "OPTIONS")
    name = f"{ours['NAME'].removeprefix('test_')}_document"
    return {each: ours[each] for each in names if each in ours} | {"NAME": name}


@pytest.fixture
def project(tmp_path, db):
    """Return a project with the document's files, and nothing installed but the outbox."""
    written = files()
    for name, text in written.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "shop_settings.py").write_text(SETTINGS.format(database=database()))
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "The document's files."]):
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
        subprocess.run(["git", *identity, *command], cwd=tmp_path, check=True)
    return tmp_path


def test_every_example_of_the_document_runs(project):
    expected = sum(text.count("\ndef test_") for text in files().values())

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--create-db"],
        cwd=project,
        env=os.environ
        | {
            "DJANGO_SETTINGS_MODULE": "shop_settings",
            "PYTHONPATH": f"{project}{os.pathsep}{settings.BASE_DIR}",
        },
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert expected >= 10
    assert f"{expected} passed" in done.stdout
