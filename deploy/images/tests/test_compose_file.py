"""compose.yaml by the judgement of compose itself."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.local.config import ROOT, directories

# Compose's parser and schema. Names that lead nowhere are found by deploy/compose/tests.
PARSER = "github.com/compose-spec/compose-go/v2/cmd"
PARSER_VERSION = "v2.16.2"
SILENT = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@pytest.fixture(scope="module")
def tool() -> tuple[str, ...]:
    """Return compose's own command, or a program of its parser alone."""
    plugin = ("docker", "compose")
    if shutil.which("docker") and not subprocess.call((*plugin, "version"), **SILENT):
        return plugin
    if shutil.which("go") is None:
        pytest.fail("Neither `docker compose` nor `go`, to build its parser, is there.")
    _, cache = directories(os.environ)
    program = cache / "images" / f"compose-go-{PARSER_VERSION}" / "cmd"
    if not program.exists():
        environment = os.environ | {"GOBIN": str(program.parent)}
        command = ("go", "install", f"{PARSER}@{PARSER_VERSION}")
        subprocess.run(command, env=environment, check=True)
    return (str(program),)


def judge(tool: tuple[str, ...], path: Path) -> subprocess.CompletedProcess[str]:
    is_compose = tool == ("docker", "compose")
    arguments = ("--file", str(path), "config", "--quiet") if is_compose else (str(path),)
    command = (*tool, *arguments)
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_compose_takes_the_file(tool):
    done = judge(tool, ROOT / "compose.yaml")

    assert done.returncode == 0, done.stderr
    assert "is not set" not in done.stderr


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("stop_grace_period: 35s", "stop_grace_perod: 35s"),
        ("retries: 40", "retries: often"),
        ("condition: service_healthy", "condition: service_is_healthy"),
    ],
)
def test_compose_would_refuse_a_slip(tool, tmp_path, right, wrong):
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    assert right in text
    (tmp_path / "compose.yaml").write_text(text.replace(right, wrong), encoding="utf-8")

    assert judge(tool, tmp_path / "compose.yaml").returncode != 0
