"""A Docker engine to build and try images with: one that answers, or one of our own for a while.

Our own runs as root in a directory that is thrown away, with packages from the system's own
repositories. It pulls nothing: base images are made of Debian's packages by debootstrap, and Python
packages are downloaded beforehand, by the lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.config import ROOT
from deploy.local.ending import end
from deploy.local.errors import CannotContinue
from deploy.local.output import last_lines, say

PACKAGES = ("docker.io", "iptables", "debootstrap")
SUITE = "bookworm"
PYTHON = ("python3", "python3-venv", "ca-certificates")
POSTGRES = ("postgresql",)
CLIENT = "TICKETING_ENGINE_CLIENT"
"""Set where the engine is ours: its docker command."""
CGROUP_V1 = Path("/sys/fs/cgroup/cpu")
SECONDS_TO_COME_UP = 60
SECONDS_TO_STOP = 30
PYTHON_MARKER = re.compile(r" ; python_[a-z_]+ [<>=!]+ '[0-9.]+'(?= )")
# Two engines of ours would share one bridge.
LOCK = Path(tempfile.gettempdir()) / "ticketing-engine.lock"


@dataclass(frozen=True)
class Engine:
    """An engine that answers.

    Args:
        client: the docker command.
        environment: what the client, or Testcontainers, needs to reach the engine.
        is_ours: whether it was started here and so pulls nothing.
    """

    client: str
    environment: Mapping[str, str]
    is_ours: bool

    def docker(self, *arguments: str, within: float = 300) -> str:
        """Run one command of the client and return what it printed.

        Raises:
            CannotContinue: it failed; with its last words.
        """
        done = subprocess.run(
            (self.client, *arguments),
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=within,
            check=False,
        )
        if done.returncode != 0:
            said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-25:])
            raise CannotContinue(f"docker {' '.join(arguments[:3])} failed: {said}")
        return done.stdout

    @classmethod
    def from_environment(cls) -> Engine:
        """Return the engine that `make test` gives to a part, or else the system's.

        Raises:
            CannotContinue: none answers.
        """
        if not answers():
            raise CannotContinue('No Docker engine answers. `make test PARTS="images"` starts one.')
        return cls(os.environ.get(CLIENT, "docker"), {}, is_ours=CLIENT in os.environ)

    def has(self, image: str) -> bool:
        return bool(self.docker("image", "ls", "--quiet", image).strip())


def answers(client: str = "docker") -> bool:
    """Whether an engine answers that somebody else has started."""
    if shutil.which(client) is None:
        return False
    try:
        done = subprocess.run(
            (client, "version", "--format", "{{.Server.Version}}"),
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=20,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def can_be_had() -> bool:
    """Whether an engine answers, or this user can start one."""
    return answers() or (os.geteuid() == 0 and shutil.which("apt-get") is not None)


@contextmanager
def running(directory: Path) -> Iterator[Engine]:
    """Give an engine that answers: the system's, or one that lives in `directory` meanwhile.

    Raises:
        CannotContinue: there is none, and this user cannot start one; or it does not start.
    """
    if answers():
        yield Engine("docker", {}, is_ours=False)
        return
    if not can_be_had():
        raise CannotContinue(
            "No Docker engine answers, and only root can start one here (Debian or Ubuntu). "
            "Start Docker, or leave out the parts that need it."
        )
    install()
    with LOCK.open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with started(directory) as engine:
            yield engine


def install() -> None:
    """Install what lacks, by the system's own package manager."""
    needed = {"dockerd": "docker.io", "iptables": "iptables", "debootstrap": "debootstrap"}
    if not [program for program in needed if shutil.which(program) is None]:
        return
    say(f"  installing {', '.join(PACKAGES)}")
    apt = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq")
    run(*apt, "update")
    run(*apt, "install", "--yes", "--no-install-recommends", *PACKAGES)


@contextmanager
def started(directory: Path) -> Iterator[Engine]:
    directory.mkdir(parents=True, exist_ok=True)
    address = f"unix://{directory / 'docker.sock'}"
    output = directory / "dockerd.log"
    command = (
        # Were we killed, it would go on; asked to end, it takes its containers with it.
        *("setpriv", "--pdeathsig", "TERM", "--"),
        *("dockerd", "--host", address, "--data-root", str(directory / "data")),
        *("--exec-root", str(directory / "exec"), "--pidfile", str(directory / "docker.pid")),
        # Below cgroup v1's /docker, all containers together weigh as much as one other process.
        *(("--cgroup-parent=/",) if CGROUP_V1.is_dir() else ()),
    )
    # The engine's own client: it builds with BuildKit without a plugin.
    client = "/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker"
    environment = {
        "DOCKER_HOST": address,
        "DOCKER_BUILDKIT": "1",
        CLIENT: client,
        # Its image cannot be pulled; what is left behind ends with the engine.
        "TESTCONTAINERS_RYUK_DISABLED": "true",
    }
    engine = Engine(client, environment, is_ours=True)
    with output.open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + SECONDS_TO_COME_UP
        while not answers_at(engine):
            if process.poll() is not None or time.monotonic() > deadline:
                said = "\n".join(last_lines(output, 20))
                raise CannotContinue(f"The Docker engine did not start:\n{said}")
            time.sleep(0.2)
        yield engine
    finally:
        if answers_at(engine) and (left := engine.docker("ps", "--all", "--quiet").split()):
            engine.docker("rm", "--force", "--volumes", *left)
        end(process, within=SECONDS_TO_STOP)
        # It leaves mounts behind, which would keep the directory from being removed.
        for mount in (directory / "exec" / "netns" / "default", directory / "data"):
            subprocess.run(("umount", str(mount)), stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(directory / "data", ignore_errors=True)


def answers_at(engine: Engine) -> bool:
    done = subprocess.run(
        (engine.client, "version"),
        env=os.environ | engine.environment,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode == 0


def base_image(engine: Engine, cache: Path, name: str, packages: Sequence[str]) -> str:
    """Return an image of Debian with `packages` in it, made without pulling anything.

    What debootstrap makes is kept in the cache for a day, so that updates reach it.
    """
    tag = f"ticketing-base-{name}:{SUITE}"
    if engine.has(tag):
        return tag
    day = time.strftime("%Y%m%d", time.gmtime())
    words = hashlib.sha256(" ".join((SUITE, *packages)).encode()).hexdigest()[:12]
    archive = cache / "images" / f"{name}-{words}-{day}.tar"
    if not archive.exists():
        archive.parent.mkdir(parents=True, exist_ok=True)
        for old in archive.parent.glob(f"{name}-*.tar"):
            old.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(prefix="ticketing-base-") as temporary:
            tree = Path(temporary) / "tree"
            run(
                "debootstrap",
                "--variant=minbase",
                f"--include={','.join(packages)}",
                SUITE,
                str(tree),
            )
            for unneeded in (
                "var/cache/apt",
                "var/lib/apt/lists",
                "usr/share/doc",
                "usr/share/man",
            ):
                shutil.rmtree(tree / unneeded, ignore_errors=True)
            made = archive.with_suffix(f".{os.getpid()}")
            run(
                "tar",
                "--create",
                "--numeric-owner",
                "--file",
                str(made),
                "--directory",
                str(tree),
                ".",
            )
            made.replace(archive)
    engine.docker("import", str(archive), tag)
    return tag


def wheelhouse(cache: Path) -> Path:
    """Return a directory with the wheels of requirements/base.txt, for a build without an index."""
    lock = ROOT / "requirements" / "base.txt"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    kept = cache / "images" / f"wheels-{digest}"
    if kept.exists():
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    for old in kept.parent.glob("wheels-*"):
        shutil.rmtree(old, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(dir=kept.parent, prefix="new-"))
    # The base's Python may be another than this one, and pip asks this one what to leave out.
    asked = temporary / "asked.txt"
    asked.write_text(PYTHON_MARKER.sub("", lock.read_text(encoding="utf-8")), encoding="utf-8")
    run(
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--require-hashes", "--only-binary", ":all:", "--python-version", "3.11"),
        *("--dest", str(temporary), "--requirement", str(asked)),
    )
    asked.unlink()
    temporary.rename(kept)
    return kept


def build_services(engine: Engine, cache: Path) -> tuple[str, str]:
    """Build the service image and the demo image; return their names.

    Where the engine is ours, both stand on a base of Debian's packages and on wheels that were
    downloaded here, and the build itself reaches no network.
    """
    with tempfile.TemporaryDirectory(prefix="ticketing-context-") as temporary:
        context = Path(temporary)
        copy_tree(context)
        options: tuple[str, ...] = ()
        if engine.is_ours:
            base = base_image(engine, cache, "python", PYTHON)
            shutil.copytree(wheelhouse(cache), context / "wheelhouse")
            arguments = (f"PYTHON_IMAGE={base}", "PIP_NO_INDEX=1")
            options = (
                "--network=none",
                *(word for each in arguments for word in ("--build-arg", each)),
            )
        names = ("ticketing:test", "ticketing-demo:test")
        for name, target in zip(names, ("service", "demo"), strict=True):
            engine.docker(
                "build", "--target", target, "--tag", name, *options, str(context), within=600
            )
    return names


def postgres_image(engine: Engine, cache: Path) -> str:
    """Build PostgreSQL for Testcontainers of Debian's package, and return the image's name."""
    base = base_image(engine, cache, "postgres", POSTGRES)
    name = "ticketing-postgres:test"
    engine.docker(
        *("build", "--network=none", "--tag", name, "--build-arg", f"POSTGRES_BASE={base}"),
        str(ROOT / "deploy" / "images" / "postgres-for-tests"),
    )
    return name


def copy_tree(target: Path) -> None:
    """Copy what git knows, and what is new and not ignored: the context of a person's build."""
    listed = run(
        "git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"
    )
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def run(*command: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode != 0:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise CannotContinue(f"{command[0]} failed with status {done.returncode}: {said}")
    return done.stdout


def main() -> int:
    """Start an engine and end it; exit status 1 says that there can be none here, and why."""
    with tempfile.TemporaryDirectory(prefix="ticketing-engine-") as temporary:
        try:
            with running(Path(temporary) / "engine") as engine:
                say(f"A Docker engine answers{' and is ours' if engine.is_ours else ''}.")
        except CannotContinue as exc:
            say(f"ticketing: {exc}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
