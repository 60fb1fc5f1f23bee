from __future__ import annotations

from dataclasses import replace

import pytest

from deploy.local.config import load
from deploy.local.entries import Entry, Launch, Program
from deploy.local.unchanged import is_done, mark_done, marks

MIGRATE = Entry(
    "migrate", Program(lambda _config: Launch(())), once=True, unless_changed=("migrations/*.py",)
)


@pytest.fixture
def config(tmp_path):
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "0001.py").write_text("one")
    loaded = load({"TICKETING_DIR": str(tmp_path / "dir"), "TICKETING_CACHE": str(tmp_path)})
    return replace(loaded, root=tmp_path)


def test_a_one_shot_is_skipped_once_it_has_succeeded(config):
    assert not is_done(config, MIGRATE)
    mark_done(config, MIGRATE)
    assert is_done(config, MIGRATE)


@pytest.mark.parametrize(("name", "content"), [("0001.py", "other"), ("0002.py", "new")])
def test_it_is_run_again_when_a_file_changes_or_comes(config, name, content):
    mark_done(config, MIGRATE)

    (config.root / "migrations" / name).write_text(content)

    assert not is_done(config, MIGRATE)


def test_it_is_run_again_when_the_data_are_gone(config):
    mark_done(config, MIGRATE)

    marks(config).unlink()

    assert not is_done(config, MIGRATE)


def test_one_without_files_is_always_run(config):
    always = replace(MIGRATE, unless_changed=())

    mark_done(config, always)

    assert not is_done(config, always)
