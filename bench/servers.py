"""The servers that are measured on: own ones on free ports, thrown away afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deploy.local.config import ROOT, Config, directories, load
from deploy.local.ending import end
from deploy.local.entries import environment_of_tests
from deploy.local.ports import NAMES, find_free, variable
from deploy.local.testing import SECONDS_TO_STOP, wait_until_up

WANTED = ("postgres", "mongod", "kafka", "registry", "connect")
# The local stack's JVMs start quickly and never get fast; Debezium is to be measured at its best.
# Unlike JDK_JAVA_OPTIONS, these come after the command line's.
JAVA = {"_JAVA_OPTIONS": "-XX:TieredStopAtLevel=4 -Xmx1g"}
# Nor is a database's speed that of its evictions: in the local stack's 0.5 GB, most of what mongod
# does while 200,000 rows are drained is to make room in its cache.
MEMORY = {"MONGOD_CACHE_GB": "4", "POSTGRES_SHARED_BUFFERS": "2GB"}


class Servers:
    """What connects to running servers.

    Args:
        config: of their stack.
        environ: the environment that the processes inherit.
    """

    def __init__(self, config: Config, environ: Mapping[str, str]) -> None:
        self.config = config
        self.environment = dict(environ) | environment_of_tests(config)

    @property
    def mark(self) -> str:
        return str(self.config.directory)

    def log_of(self, name: str) -> Path:
        return self.config.logs / f"{name}.log"


def running() -> Servers:
    """Return the servers that run already, in TICKETING_DIR; their settings favour tests."""
    return Servers(load(), os.environ)


@contextmanager
def own() -> Iterator[Servers]:
    """Keep servers running that nobody else uses, with their data as durable as in production."""
    directory = Path(tempfile.mkdtemp(prefix="ticketing-bench-"))
    _, cache = directories(os.environ)
    taken: set[int] = set()
    for _ in NAMES:
        taken.add(find_free(taken))
    ports = {variable(name): str(port) for name, port in zip(NAMES, taken, strict=True)}
    environment = dict(os.environ) | ports | JAVA | MEMORY
    environment |= {"TICKETING_DIR": str(directory), "TICKETING_CACHE": str(cache)}
    output = directory / "output.log"
    with output.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.local", "servers", *WANTED],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until_up(process, directory, output)
        yield Servers(load(environment), environment)
    finally:
        end(process, within=SECONDS_TO_STOP)
        shutil.rmtree(directory, ignore_errors=True)
