"""The processes of the local stack, each in a container of the service image."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.images.engine import Engine
from deploy.local import probes, servers
from deploy.local.config import Config
from deploy.local.entries import Entry
from deploy.local.ports import find_free
from deploy.local.stack import SERVERS_ALONE, STACK, WEBS
from tests.e2e.stack import says_ok

SERVERS = (*SERVERS_ALONE, "gateway")
PROCESSES = tuple(each for each in STACK if each.name not in SERVERS and not each.once)
# The image holds the static files, and a purchase needs no demo tickets.
JOBS = tuple(each for each in STACK if each.once and each.name not in {"collectstatic", "seed"})
# What Kubernetes and compose give a container before they kill it.
GRACE_SECONDS = 35
SECONDS_TO_BE_HEALTHY = 600
AS_IN_PRODUCTION = (
    *("--network=host", "--read-only", "--tmpfs=/tmp", "--volume=/var/lib/ticketing/mail"),
    *("--cap-drop=ALL", "--security-opt=no-new-privileges"),
    # Twenty checks every ten seconds are a burden on two cores that are busy with more than this.
    *("--health-interval=20s", "--health-timeout=20s"),
)


@dataclass(frozen=True)
class Containers:
    """The engine, the image, and the stack's configuration, whose servers are running."""

    engine: Engine
    image: str
    config: Config

    def options(self, entry: Entry) -> tuple[str, ...]:
        """Return what `docker run` needs: as the local stack starts it, but for what is inside."""
        launch = entry.program.launch(self.config)
        values = dict(launch.environment)
        del values["STATIC_ROOT"]
        if "EMAIL_URL" in values:
            values["EMAIL_URL"] = "file:///var/lib/ticketing/mail"
        environment = (f"--env={name}={value}" for name, value in values.items())
        assert launch.command[0] == sys.executable
        return (*AS_IN_PRODUCTION, *environment, self.image, "python", *launch.command[1:])

    def name(self, entry: Entry) -> str:
        return f"ticketing-test-{entry.name}"

    def replacement(self, entry: Entry) -> Containers:
        """Return the same, but for new ports of one process: those of who takes its place."""
        ports = dict(self.config.ports)
        for name in {entry.name, f"{entry.name}-metrics"} & ports.keys():
            ports[name] = find_free(ports.values())
        return replace(self, config=replace(self.config, ports=ports))

    def do(self, entry: Entry) -> str:
        """Run a one-shot to its end and return what it printed."""
        return self.engine.docker("run", "--rm", *self.options(entry))

    def start(self, entry: Entry) -> None:
        self.engine.docker("run", "--detach", f"--name={self.name(entry)}", *self.options(entry))

    def inspect(self, entry: Entry, template: str) -> str:
        return self.engine.docker("inspect", "--format", template, self.name(entry)).strip()

    def logs(self, entry: Entry) -> str:
        return self.engine.docker("logs", "--tail=30", self.name(entry))

    def wait_until_healthy(self, entry: Entry) -> None:
        deadline = time.monotonic() + SECONDS_TO_BE_HEALTHY
        while (health := self.inspect(entry, "{{.State.Health.Status}}")) != "healthy":
            is_running = self.inspect(entry, "{{.State.Running}}") == "true"
            assert is_running, f"{entry.name} has ended:\n{self.logs(entry)}"
            assert time.monotonic() < deadline, f"{entry.name} is {health}:\n{self.logs(entry)}"
            time.sleep(0.5)

    def wait_until_ready(self, entry: Entry) -> None:
        """Ask its probe of readiness, as Kubernetes does before it counts on a process."""
        address = f"http://127.0.0.1:{self.config.ports[f'{entry.name}-metrics']}/readyz"
        deadline = time.monotonic() + SECONDS_TO_BE_HEALTHY
        while not says_ok(address):
            assert time.monotonic() < deadline, f"{entry.name}:\n{self.logs(entry)}"
            time.sleep(0.2)

    def stop(self, entry: Entry) -> float:
        """Ask a process to stop as an orchestrator does; return after how many seconds it ended."""
        started = time.monotonic()
        self.engine.docker("stop", f"--time={GRACE_SECONDS}", self.name(entry))
        return time.monotonic() - started

    def roll(self, entry: Entry, front: Gateway) -> Containers:
        """Put a new process in the place of a running one, without a gap between them.

        Returns: the containers with the new one's ports.
        """
        name, old = self.name(entry), f"{self.name(entry)}-old"
        new = self.replacement(entry)
        self.engine.docker("rename", name, old)
        new.start(entry)
        new.wait_until_ready(entry)
        if entry.name in WEBS:
            front.turn_to(new.config)
        self.engine.docker("stop", f"--time={GRACE_SECONDS}", old)
        code = self.engine.docker("inspect", "--format", "{{.State.ExitCode}}", old).strip()
        assert code == "0", f"{entry.name} ended with {code}"
        self.engine.docker("rm", "--volumes", old)
        return new


@dataclass
class Gateway:
    """The local stack's gateway, which can be told of new addresses while it works.

    As an ingress is told of a service's endpoints: what is under way goes on at the old ones.
    """

    config: Config

    @property
    def admin(self) -> str:
        return f"unix/{self.config.run / 'gateway.sock'}"

    @property
    def path(self) -> Path:
        return self.config.generated / "Caddyfile"

    def write(self) -> None:
        servers.GATEWAY.prepare(self.config)
        text = self.path.read_text(encoding="utf-8")
        for stays, changes in (
            ("admin off", f"admin {self.admin}"),
            # As long as a request may take.
            ("grace_period 3s", "grace_period 30s"),
        ):
            assert stays in text
            text = text.replace(stays, changes)
        self.path.write_text(text, encoding="utf-8")

    def turn_to(self, config: Config) -> None:
        """Send what comes from now on to other ports."""
        self.config = config
        self.write()
        launch = servers.GATEWAY.launch(config)
        caddy, _, *adapted = launch.command
        command = (caddy, "reload", *adapted, "--address", self.admin)
        subprocess.run(command, env=dict(launch.environment), check=True, capture_output=True)


@contextmanager
def gateway(config: Config) -> Iterator[Gateway]:
    """Keep the local stack's gateway running in front of the containers."""
    front = Gateway(config)
    front.write()
    launch = servers.GATEWAY.launch(config)
    process = subprocess.Popen(launch.command, env=dict(launch.environment))
    try:
        deadline = time.monotonic() + 30
        while not probes.listens(config.ports["gateway"]):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield front
    finally:
        process.terminate()
        process.wait(timeout=30)


def run_all(containers: Containers) -> None:
    """Do the jobs and start the processes, each as soon as what it comes after is done."""
    jobs = {each.name: each for each in JOBS}
    done: set[str] = set()
    with ThreadPoolExecutor(max_workers=4) as pool:
        while left := [each for each in JOBS if each.name not in done]:
            ready = [each for each in left if not (set(each.after) & jobs.keys()) - done]
            for entry, _ in zip(ready, pool.map(containers.do, ready), strict=True):
                done.add(entry.name)
        list(pool.map(containers.start, PROCESSES))
        list(pool.map(containers.wait_until_healthy, PROCESSES))
