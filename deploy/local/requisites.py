"""What the system itself has to bring: checked by running each server once."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from deploy.local import fetch
from deploy.local.errors import CannotContinue
from deploy.local.output import say

# Which Debian or Ubuntu package holds a library that a server's binary wants.
PACKAGES = {
    "libcurl.so.4": "libcurl4",
    "libssl.so.3": "libssl3",
    "libcrypto.so.3": "libssl3",
    "liblzma.so.5": "liblzma5",
    "libz.so.1": "zlib1g",
    "libgcc_s.so.1": "libgcc-s1",
}
MISSING = re.compile(r"loading shared libraries: (\S+?):")
Run = Callable[[tuple[str, ...]], "subprocess.CompletedProcess[str]"]


def run(command: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def require(cache: Path, run: Run = run) -> None:
    """Return when every server's binary runs here; installs what lacks where that is possible.

    Raises:
        CannotContinue: what to install, and how.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise CannotContinue(
            "The servers of the local stack are built for Linux on x86-64, and this is "
            f"{platform.system()} on {platform.machine()}. Use a virtual machine."
        )
    if shutil.which("setpriv") is None:
        raise CannotContinue("setpriv is not there. Run: sudo apt-get install util-linux")
    binaries = (
        (str(fetch.mongod(cache)), "--version"),
        (str(fetch.postgres(cache) / "postgres"), "--version"),
        (str(fetch.redis(cache)), "--version"),
        (str(fetch.java(cache)), "-version"),
    )
    for binary in binaries:
        while library := missing_library(binary, run):
            install(library, binary[0], run)


def missing_library(binary: tuple[str, ...], run: Run) -> str:
    """Return the shared library without which the binary does not start, or nothing."""
    done = run(binary)
    if done.returncode == 0:
        return ""
    if match := MISSING.search(done.stderr):
        return match[1]
    raise CannotContinue(f"{binary[0]} does not run here: {done.stderr.strip()[:300]}")


def install(library: str, binary: str, run: Run) -> None:
    package = PACKAGES.get(library)
    name = Path(binary).name
    if package is None:
        raise CannotContinue(f"{name} needs {library}, which this system lacks. Install it.")
    by_hand = f"sudo apt-get install {package}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise CannotContinue(f"{name} needs {library}, which this system lacks. Run: {by_hand}")
    say(f"  installing {package}, which {name} needs")
    apt = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq")
    run((*apt, "update"))
    done = run((*apt, "install", "--yes", "--no-install-recommends", package))
    if done.returncode != 0 or missing_library((binary, "--version"), run) == library:
        raise CannotContinue(
            f"{name} needs {library}, and apt-get could not install {package}: "
            f"{done.stderr.strip()[-300:] or 'it gave no reason'}"
        )
