from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from deploy.local import fetch, requisites
from deploy.local.config import directories
from deploy.local.errors import CannotContinue

LACKS_CURL = (
    "mongod: error while loading shared libraries: libcurl.so.4: cannot open shared object file"
)


class System:
    """A machine without a library, until apt-get installs it."""

    def __init__(self, error=LACKS_CURL, *, installable=True):
        self.error = error
        self.installable = installable
        self.commands = []

    def __call__(self, command):
        self.commands.append(command)
        if "install" in command:
            if not self.installable:
                return subprocess.CompletedProcess(command, 100, "", "E: Unable to locate package")
            self.error = ""
        if "apt-get" in command:
            return subprocess.CompletedProcess(command, 0, "", "")
        broken = bool(self.error) and Path(command[0]).name == "mongod"
        return subprocess.CompletedProcess(command, 127 * broken, "", self.error if broken else "")


@pytest.fixture
def cache():
    return directories(os.environ)[1]


@pytest.fixture
def as_root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def test_every_server_runs_here(cache):
    requisites.require(cache)


def test_root_gets_the_missing_library_installed(cache, as_root):
    system = System()

    requisites.require(cache, system)

    installs = [command for command in system.commands if "install" in command]
    assert [command[-1] for command in installs] == ["libcurl4"]


def test_others_are_told_which_command_to_run(cache, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(CannotContinue, match=r"Run: sudo apt-get install libcurl4$"):
        requisites.require(cache, System())


def test_a_package_that_cannot_be_installed_is_told_with_apts_reason(cache, as_root):
    with pytest.raises(CannotContinue, match="Unable to locate package"):
        requisites.require(cache, System(installable=False))


def test_a_library_of_unknown_origin_is_named(cache):
    system = System(LACKS_CURL.replace("libcurl.so.4", "libodd.so.1"))

    with pytest.raises(CannotContinue, match=r"mongod needs libodd\.so\.1"):
        requisites.require(cache, system)


def test_a_binary_that_fails_otherwise_is_quoted(cache):
    with pytest.raises(CannotContinue, match="Illegal instruction"):
        requisites.require(cache, System("Illegal instruction"))


def test_another_kind_of_machine_is_refused(monkeypatch, cache):
    monkeypatch.setattr(requisites.platform, "machine", lambda: "aarch64")

    with pytest.raises(CannotContinue, match="Linux on aarch64"):
        requisites.require(cache)


def test_the_cache_of_this_run_holds_every_server(cache):
    assert all(fetch.is_fetched(cache, jar) for jar in fetch.locked_jars())
