"""Starting an engine where none runs."""

from __future__ import annotations

import pytest

from deploy.images.engine import PYTHON_MARKER, Engine
from deploy.local.config import ROOT
from deploy.local.errors import CannotContinue


def test_what_docker_says_of_a_failure_is_told(engine):
    with pytest.raises(CannotContinue, match="docker image inspect nowhere"):
        engine.docker("image", "inspect", "nowhere:none")


def test_wheels_are_downloaded_for_any_python_of_the_base():
    lock = (ROOT / "requirements" / "base.txt").read_text(encoding="utf-8")

    for_all = PYTHON_MARKER.sub("", lock)

    assert "python_full_version" not in for_all
    assert "sys_platform == 'win32'" in for_all
    assert for_all.count("==") == lock.count("==")


def test_an_engine_that_does_not_answer_is_said(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")

    with pytest.raises(CannotContinue, match="starts one"):
        Engine.from_environment()
