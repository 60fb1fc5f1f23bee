"""Other versions of the project, laid beside the present one to run with its databases."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local.config import ROOT

# What two versions share: tables by their migrations, and events by their schemas. What was added
# or changed last is where they differ in a way that matters.
SHARED = (("--diff-filter=A", "apps/*/migrations/*.py"), ("--diff-filter=AM", "avro/*.avsc"))


# What a process needs of the project's files.
RUNNING = ("apps", "avro", "ticketing", "manage.py")
NEW_FIELD = {
    "name": "of_the_next_version",
    "type": "string",
    "default": "nobody of this version knows it",
    "doc": "What a newer version may add.",
}


@dataclass(frozen=True, kw_only=True)
class Version:
    """Another version.

    Args:
        name: of its logs: earlier or newer.
        directory: where its files are.
        commit: its id, short, and its subject; empty if it is none of git's.
    """

    name: str
    directory: Path
    commit: str = ""

    @property
    def static(self) -> Path:
        """Its static files, which its pages name by their contents."""
        return self.directory / "staticfiles"


def lay_out(directory: Path, ref: str = "", *, root: Path = ROOT) -> Version | None:
    """Write an earlier version's files, and return it; None if git's history is not at hand.

    Args:
        directory: to be made.
        ref: what git calls the version; by default the one before the last new migration or the
            last change of a schema, whichever is later.
        root: of the repository.

    Raises:
        ValueError: git knows no such version.
    """
    commit = resolve(root, ref) if ref else find(root)
    if not commit:
        if ref:
            raise ValueError(f"git knows no commit {ref}.")
        return None
    files = subprocess.run(
        ("git", "-C", str(root), "archive", commit), capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(files)) as archive:
        archive.extractall(directory, filter="data")
    named = ask(root, "log", "-1", "--format=%h %s", commit)
    return Version(name="earlier", directory=directory, commit=named)


def lay_out_newer(directory: Path, *, root: Path = ROOT) -> Version:
    """Write the present version's files with one more field in each schema, and return it.

    Args:
        directory: to be made.
        root: of the present version.
    """
    directory.mkdir(parents=True)
    for name in RUNNING:
        if (root / name).is_dir():
            unneeded = shutil.ignore_patterns("__pycache__", "tests")
            shutil.copytree(root / name, directory / name, ignore=unneeded)
        else:
            shutil.copy(root / name, directory / name)
    for path in (directory / "avro").rglob("*.avsc"):
        schema = json.loads(path.read_text(encoding="utf-8"))
        schema["fields"].append(NEW_FIELD)
        path.write_text(json.dumps(schema, indent=2), encoding="utf-8")
    return Version(name="newer", directory=directory)


def find(root: Path) -> str:
    """Return the commit before the last change of what versions share; empty if there is none."""
    changes = []
    for kind, paths in SHARED:
        if commit := ask(root, "log", "-1", "--format=%H", kind, "--", paths):
            changes.append((int(ask(root, "rev-list", "--count", commit)), commit))
    return resolve(root, f"{max(changes)[1]}^") if changes else ""


def resolve(root: Path, ref: str) -> str:
    """Return the id of a commit; empty if it is not there, as behind the end of a shallow clone."""
    return ask(root, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")


def ask(root: Path, *question: str) -> str:
    """Return what git answers; empty if it does not know, or is not there."""
    try:
        answer = subprocess.run(
            ("git", "-C", str(root), *question), capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def prepare(version: Version, environment: Mapping[str, str]) -> None:
    """Register the version's schemas and collect its static files, as its own roll-out does.

    Args:
        version: another one than the present.
        environment: what a management command runs with.

    Raises:
        RuntimeError: it cannot be done.
    """
    for command in (
        ("register_schemas",),
        ("collectstatic", "--no-input", "--verbosity=0", "--ignore=redoc"),
    ):
        done = subprocess.run(
            (sys.executable, "manage.py", *command),
            cwd=version.directory,
            env={**environment, "STATIC_ROOT": str(version.static)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{version.name}: {' '.join(command)}: {done.stderr.strip()}")
