"""Bring the stack up, watch over it, and take it down."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys
import threading
import time
import xmlrpc.client
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

from deploy.local import leftovers, requisites, servers
from deploy.local.config import Config
from deploy.local.entries import Entry
from deploy.local.errors import CannotContinue
from deploy.local.fetch import fetch_all
from deploy.local.order import check, choose, stopping_steps
from deploy.local.output import Follower, bold, duration, log_line, say
from deploy.local.ports import settle_ports
from deploy.local.starting import Interrupted, Starter
from deploy.local.status import family, restarts_path
from deploy.local.supervision import Supervisor

DIED = frozenset({"BACKOFF", "EXITED", "FATAL"})
SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_BETWEEN_LINES = 0.2


@contextlib.contextmanager
def alone(config: Config) -> Iterator[IO[str]]:
    """Hold the lock of this checkout's stack; the kernel frees it when we die."""
    with (config.run / "lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise CannotContinue(
                f"This stack is running already (pid {lock.read().strip() or 'unknown'}). "
                "`make status` shows it, `make stop` ends it."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield lock


def up_mark(config: Config) -> Path:
    """Return the file that is there while everything is up."""
    return config.run / "up"


class Stack:
    """The running system of one checkout."""

    def __init__(
        self, config: Config, stack: Sequence[Entry], names: Sequence[str] | None = None
    ) -> None:
        check(stack)
        self.config = config
        self.entries = choose(stack, config, names)
        self.supervisor = Supervisor(config)
        self.stopping = threading.Event()
        self.pids: dict[str, int] = {}
        self.restarts: dict[str, int] = {}

    def start(self) -> None:
        """Return when everything is ready.

        Raises:
            CannotContinue: something has to be done first, or an entry failed.
            Interrupted: `stopping` was set meanwhile.
        """
        started = time.monotonic()
        config = self.config
        fetch_all(config.cache, config.directory, lambda text: say(f"  {text}"))
        requisites.require(config.cache)
        record = config.run / "processes.json"
        if count := leftovers.end_leftovers(config.directory, record):
            say(f"  ended {count} processes that an earlier run had left")
        self.config = config = replace(
            config, ports=settle_ports(config.ports, os.environ, config.run / "ports.json")
        )
        self.supervisor = Supervisor(config)
        servers.remove_stale_locks(config)
        launches = {entry: entry.program.launch(config) for entry in self.entries if not entry.once}
        for stale in (restarts_path(config), up_mark(config)):
            stale.unlink(missing_ok=True)
        self.supervisor.launch(launches)
        Starter(config, launches, self.supervisor, self.stopping).start_all(self.entries)
        self.look()
        up_mark(config).write_text(str(os.getpid()), encoding="utf-8")
        say(f"  everything is up after {time.monotonic() - started:.0f} s")

    def look(self) -> list[str]:
        """Note who runs and who was restarted since the last look; return the news."""
        news = []
        infos = self.supervisor.infos()
        for name, info in infos.items():
            before, now = self.pids.get(name), info["pid"]
            if now and before is not None and now != before:
                self.restarts[name] = self.restarts.get(name, 0) + 1
                news.append(f"{name} was restarted (restart {self.restarts[name]})")
            elif before and not now and info["statename"] in DIED:
                news.append(f"{name} died; it is restarted, with growing delays while it fails")
        changed = self.pids != (pids := {name: info["pid"] for name, info in infos.items()})
        self.pids = pids
        if changed:
            self.record()
        return news

    def record(self) -> None:
        running = [pid for pid in self.pids.values() if pid]
        if self.supervisor.process is not None:
            running.append(self.supervisor.process.pid)
        processes = [process for pid in running for process in family(pid)]
        leftovers.record(processes, self.config.run / "processes.json")
        restarts_path(self.config).write_text(json.dumps(self.restarts), encoding="utf-8")

    def watch(self, write: Callable[[str], None] = say) -> None:
        """Print what the processes print until somebody stops the stack."""
        paths = {
            entry.name: self.config.logs / f"{entry.name}.log"
            for entry in self.entries
            if not entry.once
        }
        follower = Follower(paths)
        next_look = time.monotonic()
        while not self.stopping.is_set() and not self.supervisor.ended():
            for name, line in follower.new_lines():
                write(log_line(name, line))
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + SECONDS_BETWEEN_LOOKS
                with contextlib.suppress(OSError, xmlrpc.client.Error):
                    for text in self.look():
                        write(log_line("stack", bold(text)))
            self.stopping.wait(SECONDS_BETWEEN_LINES)

    def stop(self) -> None:
        """Stop everything, in the order opposite to starting; safe to call at any time."""
        up_mark(self.config).unlink(missing_ok=True)
        process = self.supervisor.process
        if process is None:
            return
        started = time.monotonic()
        with contextlib.suppress(OSError, xmlrpc.client.Error):
            stop_in_order(self.supervisor, self.entries)
        with contextlib.suppress(Exception):
            process.wait(timeout=20)
        if process.poll() is None:
            process.kill()
            process.wait()
        left = leftovers.end_leftovers(self.config.directory, self.config.run / "processes.json")
        more = f", {left} of them by force" if left else ""
        say(f"  everything is stopped after {duration(time.monotonic() - started)}{more}")


def stop_in_order(supervisor: Supervisor, entries: Sequence[Entry]) -> None:
    """Stop each step together, then supervisord."""
    known = supervisor.infos()
    for step in stopping_steps(entries):
        if names := tuple(name for name in step if name in known):
            say(f"  stopping {', '.join(names)}")
            supervisor.stop(names)
    supervisor.shut_down()


def run(stack: Stack, when_up: Callable[[Config], str]) -> int:
    """Run a stack until Ctrl-C, `make stop` or its own end; return the exit status."""

    def ask_to_stop(number: int, _frame: object) -> None:
        if not stack.stopping.is_set():
            say(f"\n  stopping ({signal.Signals(number).name})")
        stack.stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ask_to_stop)
    with alone(stack.config):
        try:
            stack.start()
            say(when_up(stack.config))
            stack.watch()
            if stack.supervisor.ended() and not stack.stopping.is_set():
                return closing_status(stack)
        except Interrupted:
            pass
        except BrokenPipeError:
            # Whoever read our output has gone: stop as after a closed terminal.
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
        finally:
            stack.stop()
    return 0


def closing_status(stack: Stack) -> int:
    process = stack.supervisor.process
    if process is not None and process.returncode == 0:
        say("  stopped by `make stop`")
        return 0
    raise CannotContinue("supervisord was killed, and everything ended with it. `make run` again.")
