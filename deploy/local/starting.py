"""Start the entries, each as soon as what it needs is ready."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from deploy.local.config import Config
from deploy.local.entries import Entry, Launch, environment_of_system
from deploy.local.errors import CannotContinue
from deploy.local.output import last_lines, say
from deploy.local.supervision import Supervisor
from deploy.local.unchanged import is_done, mark_done

SECONDS_TO_BE_READY = 180
SECONDS_TO_STAY_UP = 1
TRIES_OF_A_ONE_SHOT = 3
DEATHS_TO_GIVE_UP = 3
SECONDS_BETWEEN_NEWS = 10
LINES_OF_A_FAILURE = 25


class Interrupted(Exception):
    """Somebody asked to stop while the stack was starting."""


class Starter:
    """Bring the entries of one stack up; `stopping` ends it from outside."""

    def __init__(
        self,
        config: Config,
        launches: Mapping[Entry, Launch],
        supervisor: Supervisor,
        stopping: threading.Event,
    ) -> None:
        self.config = config
        self.launches = launches
        self.supervisor = supervisor
        self.stopping = stopping

    def start_all(self, entries: tuple[Entry, ...]) -> None:
        """Return when every entry is ready.

        Raises:
            CannotContinue: one of them failed; its last lines have been printed.
            Interrupted: `stopping` was set.
        """
        waiting = {entry.name: entry for entry in entries}
        ready: set[str] = set()
        running: dict[Future[str], Entry] = {}
        with ThreadPoolExecutor(max_workers=len(waiting)) as pool:
            try:
                while waiting or running:
                    for entry in list(waiting.values()):
                        if ready.issuperset(entry.after):
                            del waiting[entry.name]
                            running[pool.submit(self.start, entry)] = entry
                    done, _ = wait(running, SECONDS_BETWEEN_NEWS, return_when=FIRST_COMPLETED)
                    for future in done:
                        entry = running.pop(future)
                        how = future.result()
                        ready.add(entry.name)
                        if entry.once and how != "unchanged":
                            mark_done(self.config, entry)
                        say(f"  {entry.name:<22}{how}")
                    if not done:
                        names = ", ".join(sorted(entry.name for entry in running.values()))
                        say(f"  … waiting for {names}")
            except BaseException:
                # Let the other threads notice, or the pool would wait for them to be ready.
                self.stopping.set()
                raise

    def start(self, entry: Entry) -> str:
        """Start one entry and return in a few words how it went."""
        started = time.monotonic()
        self.heed_stopping()
        if entry.once:
            if is_done(self.config, entry):
                return "unchanged"
            entry.program.prepare(self.config)
            self.run_once(entry)
            return f"done  {time.monotonic() - started:.1f} s"
        entry.program.prepare(self.config)
        self.supervisor.start(entry.name)
        self.wait_until_ready(entry)
        return f"ready {time.monotonic() - started:.1f} s"

    def run_once(self, entry: Entry) -> None:
        """Run a command to its end; each can be repeated, and is, on a machine that is too busy."""
        for left in reversed(range(TRIES_OF_A_ONE_SHOT)):
            status = self.run_to_end(entry)
            if status == 0:
                return
            if left:
                say(f"  {entry.name:<22}ended with status {status}, trying again")
        self.fail(entry, f"ended with status {status}")

    def run_to_end(self, entry: Entry) -> int:
        launch = entry.program.launch(self.config)
        log = self.config.logs / f"{entry.name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *launch.command],
                cwd=launch.directory,
                env=environment_of_system(self.config, os.environ) | dict(launch.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            while process.poll() is None:
                if self.stopping.wait(0.05):
                    process.terminate()
                    process.wait()
                    raise Interrupted
        return process.returncode

    def wait_until_ready(self, entry: Entry) -> None:
        deadline = time.monotonic() + SECONDS_TO_BE_READY
        up_since = time.monotonic()
        pids: set[int] = set()
        pause = 0.05
        while True:
            self.heed_stopping()
            info = self.supervisor.infos()[entry.name]
            if info["pid"] and info["pid"] not in pids:
                pids.add(info["pid"])
                up_since = time.monotonic()
            if info["pid"]:
                if entry.ready is None:
                    if time.monotonic() - up_since >= SECONDS_TO_STAY_UP:
                        return
                elif entry.ready(self.config):
                    return
            if len(pids) >= DEATHS_TO_GIVE_UP:
                self.fail(entry, f"ended {len(pids) - 1} times")
            if time.monotonic() > deadline:
                self.fail(entry, f"was not ready within {SECONDS_TO_BE_READY} s")
            self.stopping.wait(pause)
            pause = min(pause * 1.5, 0.5)

    def heed_stopping(self) -> None:
        if self.stopping.is_set():
            raise Interrupted

    def fail(self, entry: Entry, what: str) -> None:
        log = self.config.logs / f"{entry.name}.log"
        lines = last_lines(log, LINES_OF_A_FAILURE)
        for line in lines:
            say(f"    {line}")
        if any("No space left on device" in line for line in lines):
            raise CannotContinue(
                f"The disk of {self.config.directory} is full, so {entry.name} {what}. Free some "
                "space, or set TICKETING_DIR to a directory on another disk."
            )
        raise CannotContinue(f"{entry.name} {what}. Its last lines are above; all are in {log}.")
