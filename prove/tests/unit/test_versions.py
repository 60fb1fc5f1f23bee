from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from deploy.local.config import ROOT
from prove.versions import NEW_FIELD, RUNNING, lay_out, lay_out_newer


class Repository:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.git("init", "--quiet")

    def git(self, *arguments: str) -> None:
        person = ("-c", "user.name=Nobody", "-c", "user.email=nobody@example.com")
        subprocess.run(("git", "-C", self.root, *person, *arguments), check=True)

    def commit(self, subject: str, path: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(subject, encoding="utf-8")
        self.git("add", path)
        self.git("commit", "--quiet", "--message", subject)


@pytest.fixture
def repository(tmp_path):
    (tmp_path / "root").mkdir()
    repository = Repository(tmp_path / "root")
    repository.commit("first", "apps/orders/migrations/0001_initial.py")
    repository.commit("before", "README.md")
    return repository


@pytest.mark.parametrize(
    "path", ["apps/orders/migrations/0002_more.py", "avro/orders/order_created.avsc"]
)
def test_earlier_version_is_that_before_the_last_migration_or_schema(repository, tmp_path, path):
    repository.commit("change", path)
    repository.commit("after", "README.md")

    version = lay_out(tmp_path / "earlier", root=repository.root)

    assert version.commit.endswith(" before")
    assert (version.directory / "README.md").read_text(encoding="utf-8") == "before"
    assert not (version.directory / path).exists()


def test_earlier_version_may_be_named(repository, tmp_path):
    repository.commit("after", "README.md")

    version = lay_out(tmp_path / "earlier", "HEAD~2", root=repository.root)

    assert version.commit.endswith(" first")


def test_version_that_is_not_there_is_refused(repository, tmp_path):
    with pytest.raises(ValueError, match="no commit of-nobody"):
        lay_out(tmp_path / "earlier", "of-nobody", root=repository.root)


def test_without_a_history_there_is_no_earlier_version(repository, tmp_path):
    repository.commit("change", "avro/orders/order_created.avsc")
    shallow = tmp_path / "shallow"
    subprocess.run(
        ("git", "clone", "--quiet", "--depth=1", repository.root.as_uri(), shallow), check=True
    )

    assert lay_out(tmp_path / "earlier", root=shallow) is None
    assert lay_out(tmp_path / "earlier", root=tmp_path / "run") is None


def test_newer_version_has_one_field_more_in_each_schema(tmp_path):
    newer = lay_out_newer(tmp_path / "newer").directory

    assert {path.name for path in newer.iterdir()} == set(RUNNING)
    present = {path.relative_to(ROOT): path for path in (ROOT / "avro").rglob("*.avsc")}
    assert present
    for name, path in present.items():
        fields = json.loads(path.read_text(encoding="utf-8"))["fields"]
        more = json.loads((newer / name).read_text(encoding="utf-8"))["fields"]
        assert more == [*fields, NEW_FIELD]
