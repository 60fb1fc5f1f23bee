"""Hand the processes to `supervisor`: it restarts what dies, with growing delays, and keeps logs.

supervisord runs as our child with a parent-death signal, and so do its children: whoever is killed
with kill -9, the kernel ends what stood below.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from deploy.local.config import Config
from deploy.local.entries import Entry, Launch, environment_of_system
from deploy.local.errors import CannotContinue

LONGEST_SOCKET_PATH = 90
SECONDS_TO_ANSWER = 15
# A process that ends sooner is restarted after a delay that grows by a second each time.
SECONDS_TO_COUNT_AS_STARTED = 5
NOT_RUNNING = frozenset({"STOPPED", "EXITED", "FATAL", "UNKNOWN"})
ALREADY_STARTED, NOT_STARTED = 60, 70  # supervisor.xmlrpc.Faults


def socket_path(config: Config) -> Path:
    path = config.run / "supervisor.sock"
    if len(str(path)) <= LONGEST_SOCKET_PATH:
        return path
    # The kernel allows 108 bytes, and a checkout may lie deep.
    digest = hashlib.sha256(str(config.directory).encode()).hexdigest()[:12]
    return Path(f"/tmp/ticketing-{os.getuid()}-{digest}.sock")  # noqa: S108 - mode 700


def quote(value: str) -> str:
    """Return a value as supervisor's configuration wants it: % is its mark of expansion."""
    if '"' in value or "\n" in value:
        raise CannotContinue(f"A setting must not hold quotes or line ends: {value!r}.")
    return value.replace("%", "%%")


def section(config: Config, entry: Entry, launch: Launch) -> str:
    environment = ",".join(
        f'{name}="{quote(value)}"' for name, value in sorted(launch.environment.items())
    )
    command = shlex.join(("setpriv", "--pdeathsig", "KILL", "--", *launch.command))
    return f"""
[program:{entry.name}]
command={quote_command(command)}
directory={quote(str(launch.directory))}
environment={environment}
autostart=false
autorestart=true
startsecs={SECONDS_TO_COUNT_AS_STARTED}
startretries=10000
stopsignal={entry.program.stop_signal}
stopwaitsecs=15
redirect_stderr=true
stdout_logfile={quote(str(config.logs / f"{entry.name}.log"))}
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=2
"""


def quote_command(command: str) -> str:
    return command.replace("%", "%%")


def configuration(config: Config, launches: Mapping[Entry, Launch]) -> str:
    # Without this line, root is warned about being root.
    user = "user=root\n" if os.geteuid() == 0 else ""
    head = f"""\
[supervisord]
{user}nodaemon=true
silent=true
logfile={quote(str(config.logs / "supervisord.log"))}
logfile_maxbytes=5MB
logfile_backups=1
pidfile={quote(str(config.run / "supervisord.pid"))}
minfds=4096
[unix_http_server]
file={quote(str(socket_path(config)))}
chmod=0700
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
    return head + "".join(section(config, entry, launch) for entry, launch in launches.items())


class Supervisor:
    """supervisord of one stack, wherever it was started."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.process: subprocess.Popen[bytes] | None = None

    def ask(self, method: str, *arguments: object) -> Any:  # noqa: ANN401 - supervisor's answers
        """Call a method of supervisor's own interface, on a connection that no thread shares."""
        transport = SupervisorTransport(None, None, f"unix://{socket_path(self.config)}")
        with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as proxy:
            return getattr(proxy.supervisor, method)(*arguments)

    def launch(self, launches: Mapping[Entry, Launch]) -> None:
        """Start supervisord with nothing running yet; raises CannotContinue if it does not come."""
        socket_path(self.config).unlink(missing_ok=True)  # a killed one leaves it
        path = self.config.generated / "supervisord.conf"
        path.parent.mkdir(exist_ok=True)
        path.touch(mode=0o600)  # it holds the services' secrets
        path.write_text(configuration(self.config, launches), encoding="utf-8")
        self.process = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "TERM", "--", sys.executable, "-W", "ignore"),
                *("-m", "supervisor.supervisord", "-c", str(path)),
            ],
            cwd=self.config.root,
            env=environment_of_system(self.config, os.environ),
            stdin=subprocess.DEVNULL,
            # A session of its own: Ctrl-C is for us, who then stop everything in order.
            start_new_session=True,
        )
        deadline = time.monotonic() + SECONDS_TO_ANSWER
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise CannotContinue(
                    f"supervisord did not start: see {self.config.logs / 'supervisord.log'}."
                )
            time.sleep(0.05)

    def answers(self) -> bool:
        try:
            return bool(self.ask("getState")["statename"] == "RUNNING")
        except (OSError, xmlrpc.client.Error):
            return False

    def infos(self) -> dict[str, dict[str, Any]]:
        """Return supervisor's own knowledge of each process by its name."""
        return {info["name"]: info for info in self.ask("getAllProcessInfo")}

    def start(self, name: str) -> None:
        try:
            self.ask("startProcess", name, False)  # noqa: FBT003 - XML-RPC has no names
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != ALREADY_STARTED:
                raise

    def stop(self, names: tuple[str, ...], seconds: float = 20) -> None:
        """Stop these processes together, and wait until they have ended."""
        for name in names:
            try:
                self.ask("stopProcess", name, False)  # noqa: FBT003
            except xmlrpc.client.Fault as fault:
                if fault.faultCode != NOT_STARTED:
                    raise
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            infos = self.infos()
            if all(infos[name]["statename"] in NOT_RUNNING for name in names):
                return
            time.sleep(0.05)

    def shut_down(self) -> None:
        """End supervisord itself, and with it whatever it still has."""
        self.ask("shutdown")

    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None
