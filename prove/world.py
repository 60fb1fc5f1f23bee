"""The system under proof: a stack of its own, with a proxy before each server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from deploy.local.config import INJECTED, ROOT, SERVICES, Config, directories, load
from deploy.local.ending import end
from deploy.local.entries import Launch, environment_of_service
from deploy.local.ports import FRONTED, NAMES, find_free, front_variable, variable
from deploy.local.servers import unprivileged
from deploy.local.stack import STACK
from deploy.local.supervision import Supervisor
from deploy.local.testing import SECONDS_TO_STOP, wait_until_up
from prove import clocks, proxy, versions
from prove.injected.sitecustomize import clocks as clocks_of
from prove.proxy import Proxy
from prove.versions import Version

# Long enough to pay even behind a slow link, short enough to wait for its end.
WINDOW_SECONDS = 25


@dataclass
class World:
    """What the run can reach of the running system.

    Args:
        config: of its stack.
        direct: the same, past the proxies: whoever checks is not disturbed.
        environ: what its processes inherit.
        earlier: the version to run beside the present one; None if there is none.
        newer: one whose schemas have one more field.
    """

    config: Config
    direct: Config
    environ: Mapping[str, str]
    links: Proxy
    newer: Version
    earlier: Version | None = None
    extra: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor(self.config)

    def pid_of(self, name: str) -> int:
        """Return the id of a process, 0 while it is down."""
        return int(self.supervisor.infos()[name]["pid"])

    def family_of(self, name: str) -> list[psutil.Process]:
        """Return a process and all below it; nobody while it is down."""
        pid = self.pid_of(name)
        with suppress(psutil.NoSuchProcess):
            if pid:
                parent = psutil.Process(pid)
                return [parent, *parent.children(recursive=True)]
        return []

    def send(self, name: str, number: signal.Signals) -> list[int]:
        """Send a signal to a process and all below it; return whom it was sent to."""
        reached = []
        for member in self.family_of(name):
            with suppress(psutil.NoSuchProcess):
                member.send_signal(number)
                reached.append(member.pid)
        return reached

    def set_clocks(self, names: Collection[str], ahead: float) -> None:
        """Set the clocks of processes of ours; 0 seconds ahead sets them right."""
        pids = [member.pid for name in names for member in self.family_of(name)]
        clocks.set_clocks(pids, ahead, clocks_of(self.config.directory))

    def ask_to_stop(self, name: str) -> None:
        """Send SIGTERM to a process; what stands below it is its own affair."""
        pid = self.pid_of(name)
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def limit_files(self, name: str, size: str) -> None:
        """Let no file grow behind `size` bytes that a server or what stands below it writes.

        With 1, every write fails, as on a full disk. Who ends over it and is started again is
        without a limit.

        Args:
            name: of the server.
            size: bytes, or unlimited.
        """
        # PostgreSQL runs as another user than root, and only that user may limit it.
        by = unprivileged() if name == "postgres" else ()
        for member in reversed(self.family_of(name)):
            command = (*by, "prlimit", f"--pid={member.pid}", f"--fsize={size}:")
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode and member.is_running():
                raise RuntimeError(f"{name} cannot be limited: {done.stderr.strip()}")

    def start_twin(self, name: str) -> None:
        """Start a second process of a kind, as somebody does by mistake."""
        self._start(name, f"{name}-twin", ROOT, {})

    def start_of(self, version: Version, name: str) -> None:
        """Start a process of another version, with the settings of the present one."""
        static = {"STATIC_ROOT": str(version.static)}
        self._start(name, f"{name}-{version.name}", version.directory, static)

    def _start(self, name: str, log_name: str, directory: Path, more: Mapping[str, str]) -> None:
        entry = next(entry for entry in STACK if entry.name == name)
        launch: Launch = entry.program.launch(self.config)
        # It has the name's settings, but not its port for metrics, on which the first one listens.
        environment = {**launch.environment, **more, "METRICS_ADDRESS": ""}
        with (self.config.logs / f"{log_name}.log").open("ab") as log:
            process = subprocess.Popen(
                launch.command,
                cwd=directory,
                env={**self.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.extra.append(process)

    def end_extra(self) -> None:
        """Kill what was started beside the stack."""
        for process in self.extra:
            process.kill()
            process.wait()
        self.extra.clear()

    def retire_extra(self) -> None:
        """Ask what was started beside the stack to end, as a roll-out does."""
        for process in self.extra:
            process.terminate()
        for process in self.extra:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=SECONDS_TO_STOP)
        self.end_extra()

    def environment_of(self, service: str) -> dict[str, str]:
        """Return what a management command of a service runs with, past the proxies."""
        return {**self.environ, **environment_of_service(self.direct, service)}


@contextmanager
def running(report: Path, beside: str = "") -> Iterator[World]:
    """Keep a stack running on free ports, thrown away afterwards unless the run failed.

    Args:
        report: where the logs of a failed run go.
        beside: what git calls the version to run beside it; chosen if it is empty.
    """
    directory = Path(tempfile.mkdtemp(prefix="ticketing-prove-"))
    _, cache = directories(os.environ)
    taken: set[int] = set()
    for _ in (*NAMES, *FRONTED):
        taken.add(find_free(taken))
    free = iter(sorted(taken))
    ports = {variable(name): str(next(free)) for name in NAMES}
    fronts = {front_variable(name): str(next(free)) for name in FRONTED}
    environ = dict(os.environ) | ports
    environ |= {
        "TICKETING_DIR": str(directory),
        "TICKETING_CACHE": str(cache),
        "EXPIRATION_WINDOW_SECONDS": str(WINDOW_SECONDS),
        "LOG_FORMAT": "json",
        INJECTED: str(clocks.INJECTED),
        "THROTTLE_SIGNUP": "100000/min",
        "THROTTLE_SIGNIN": "100000/min",
    }
    direct = load(environ)
    environ |= fronts
    config = load(environ)
    ways = {name: (config.fronts[name], config.ports[name]) for name in FRONTED}
    output = directory / "output.log"
    with proxy.running(ways) as links:
        with output.open("wb") as log:
            process = subprocess.Popen(
                # Whoever is killed with kill -9, the kernel ends what stood below.
                [
                    *("setpriv", "--pdeathsig", "TERM", "--"),
                    *(sys.executable, "-m", "deploy.local", "up"),
                ],
                cwd=ROOT,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        world = World(
            config=config,
            direct=direct,
            environ=environ,
            links=links,
            newer=versions.lay_out_newer(directory / "newer"),
            earlier=versions.lay_out(directory / "earlier", beside),
        )
        try:
            wait_until_up(process, directory, output)
            for version in (world.earlier, world.newer):
                if version is not None:
                    versions.prepare(version, world.environment_of("auth"))
            yield world
        except BaseException:
            shutil.copytree(config.logs, report / "logs", dirs_exist_ok=True)
            shutil.copy(output, report / "logs" / "output.log")
            raise
        finally:
            world.end_extra()
            end(process, within=SECONDS_TO_STOP)
            shutil.rmtree(directory, ignore_errors=True)


__all__ = ("SERVICES", "WINDOW_SECONDS", "World", "running")
